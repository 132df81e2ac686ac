-- A kick that not every connector has confirmed is kept for them: they read it with the bans before they next
-- do anything.
-- KEYS: clock.
-- ARGV: the order as JSON, for how many seconds, how many at most.
-- Returns 1.
local order, seconds, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local key, offset = prefix .. 'kicks', next_offset()
redis.call('ZADD', key, str(offset), order)
redis.call('ZREMRANGEBYSCORE', key, '-inf', str(offset - seconds * 1000000))
redis.call('ZREMRANGEBYRANK', key, '0', str(-1 - most))
redis.call('EXPIRE', key, seconds)
redis.call('PUBLISH', channels .. 'bans', '')
return 1
