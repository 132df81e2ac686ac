-- A session ends. ARGV: token, session, retention_seconds ('' on a server that is not the device's home),
-- then per stream that it followed: stream, offset, attempts, waited_us (remember_attempts in opening.lua).
-- Does nothing when the device belongs to another session by now.
local token = ARGV[1]
local record = prefix .. 'device:' .. token
if redis.call('HGET', record, 's') ~= ARGV[2] then return 0 end
redis.call('HDEL', record, 's', 'b', 'n')
for i = 4, #ARGV, 4 do
  remember_attempts(record, ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]))
end
if ARGV[3] == '' then
  drop_part_if_empty(record)
else
  local now_ms = math.floor(now / 1000)
  redis.call('HSET', record, 'seen', str(now_ms))
  redis.call('ZADD', prefix .. 'devices', str(now_ms + tonumber(ARGV[3]) * 1000), token)
end
return 1
