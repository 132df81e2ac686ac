-- A session ends. ARGV: token, session, retention_seconds, pause_us, then per stream that it followed:
-- stream, "<offset> <attempts>" of a first message handed out in vain ('' if none was). An attempt
-- counts only `pause_us` after the one before: a device whose connections break again and again has
-- not refused a message.
-- Does nothing when the device belongs to another session by now.
local token = ARGV[1]
local record = prefix .. 'device:' .. token
if redis.call('HGET', record, 's') ~= ARGV[2] then return 0 end
local now_ms = math.floor(now / 1000)
redis.call('HDEL', record, 's', 'b', 'n')
redis.call('HSET', record, 'seen', str(now_ms))
for i = 5, #ARGV, 2 do
  local field, tried = 't:' .. ARGV[i], ARGV[i + 1]
  if tried == '' then
    redis.call('HDEL', record, field)
  else
    local before = redis.call('HGET', record, field) or ''
    local offset, counted_at = string.match(before, '^(%d+) %d+ (%d+)$')
    if offset ~= string.match(tried, '^%d+') or now - tonumber(counted_at) >= tonumber(ARGV[4]) then
      redis.call('HSET', record, field, tried .. ' ' .. str(now))
    end
  end
end
redis.call('ZADD', prefix .. 'devices', str(now_ms + tonumber(ARGV[3]) * 1000), token)
return 1
