-- The clock is at least this.
-- KEYS: clock.
-- ARGV: clock.
-- Returns 1.
if tonumber(ARGV[1]) > stored_clock() then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
