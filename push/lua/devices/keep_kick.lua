-- A kick that not every connector has confirmed is kept for them: they read it with the bans before
-- they next do anything. ARGV: the order as JSON, for how many seconds, how many at most.
local key, offset = prefix .. 'kicks', next_offset()
redis.call('ZADD', key, str(offset), ARGV[1])
redis.call('ZREMRANGEBYSCORE', key, '-inf', str(offset - tonumber(ARGV[2]) * 1000000))
redis.call('ZREMRANGEBYRANK', key, '0', str(-1 - tonumber(ARGV[3])))
redis.call('EXPIRE', key, ARGV[2])
redis.call('PUBLISH', channels .. 'bans', '')
return 1
