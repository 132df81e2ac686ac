-- A kick that not every connector has confirmed is kept for them: they read it with the bans before they next
-- do anything.
-- KEYS: clock.
-- ARGV: the order as JSON, for how many seconds, how many at most.
-- Returns 1.
-- uses: bans
local order, seconds, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local offset = next_offset()
redis.call('ZADD', KICKS_KEY, str(offset), order)
redis.call('ZREMRANGEBYSCORE', KICKS_KEY, '-inf', str(offset - seconds * 1000000))
redis.call('ZREMRANGEBYRANK', KICKS_KEY, '0', str(-1 - most))
redis.call('EXPIRE', KICKS_KEY, seconds)
redis.call('PUBLISH', channels .. 'bans', '')
return 1
