-- Take out an entry, if it is still the caller's.
-- KEYS: clock, entries, state. ARGV: floor, channel, field, boot. Returns the clock.
local now = clock_now(tonumber(ARGV[1]))
local _, holder = parse(redis.call('HGET', KEYS[2], ARGV[3]))
if holder == ARGV[4] then
  redis.call('HDEL', KEYS[2], ARGV[3])
  now = announce(ARGV[2], now, 'gone', ARGV[3], '')
end
return str(now)
