-- A session ends. KEYS: clock, record. ARGV: session, retention_seconds, pause_us, then per stream
-- that it followed: stream, "<offset> <attempts>" of a first message handed out in vain ('' if none
-- was). An attempt counts only `pause_us` after the one before: a device whose connections break
-- again and again has not refused a message.
-- Does nothing when the device belongs to another session by now.
if redis.call('HGET', KEYS[2], 's') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[2], 's', 'b', 'n')
redis.call('HSET', KEYS[2], 'seen', str(math.floor(now / 1000)))
for i = 4, #ARGV, 2 do
  local field, tried = 't:' .. ARGV[i], ARGV[i + 1]
  if tried == '' then
    redis.call('HDEL', KEYS[2], field)
  else
    local before = redis.call('HGET', KEYS[2], field) or ''
    local offset, counted_at = string.match(before, '^(%d+) %d+ (%d+)$')
    if offset ~= string.match(tried, '^%d+') or now - tonumber(counted_at) >= tonumber(ARGV[3]) then
      redis.call('HSET', KEYS[2], field, tried .. ' ' .. str(now))
    end
  end
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1
