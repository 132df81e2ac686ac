-- Count something within a window of time.
-- KEYS: clock, counter.
-- ARGV: window_seconds.
-- Returns how many there were in this window, this one included.
local count = redis.call('INCR', KEYS[2])
if count == 1 then redis.call('EXPIRE', KEYS[2], ARGV[1]) end
return count
