-- Take out an entry, if it is still the caller's.
-- KEYS: clock, entries, state. ARGV: channel, field, boot. Returns the clock.
local _, holder = parse(redis.call('HGET', KEYS[2], ARGV[2]))
if holder == ARGV[3] then
  redis.call('HDEL', KEYS[2], ARGV[2])
  announce(ARGV[1], 'gone', ARGV[2], '')
end
return str(now)
