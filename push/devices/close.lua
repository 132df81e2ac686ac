-- A session ends. KEYS: clock, record. ARGV: session, retention_seconds, then per stream that it
-- followed: stream, "<offset> <attempts>" of a first message handed out in vain ('' if none was).
-- Does nothing when the device belongs to another session by now.
if redis.call('HGET', KEYS[2], 's') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[2], 's', 'b', 'n')
redis.call('HSET', KEYS[2], 'seen', str(math.floor(now / 1000)))
for i = 3, #ARGV, 2 do
  local field, tried = 't:' .. ARGV[i], ARGV[i + 1]
  if tried == '' then redis.call('HDEL', KEYS[2], field) else redis.call('HSET', KEYS[2], field, tried) end
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1
