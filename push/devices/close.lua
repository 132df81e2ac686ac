-- A session ends. KEYS: clock, record. ARGV: floor, session, retention_seconds, then per stream
-- whose first message was handed out in vain: stream, "<offset> <attempts>".
-- Does nothing when the device belongs to another session by now.
if redis.call('HGET', KEYS[2], 's') ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[2], 's', 'b', 'n')
redis.call('HSET', KEYS[2], 'seen', str(math.floor(clock_now(tonumber(ARGV[1])) / 1000)))
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[2], 't:' .. ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
