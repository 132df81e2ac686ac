-- Remove an entry, if it is still the caller's.
-- KEYS: clock, entries, state.
-- ARGV: channel, field, boot.
-- Returns the clock.
-- uses: registry
local channel, field, boot = ARGV[1], ARGV[2], ARGV[3]
local _, holder = parse(redis.call('HGET', KEYS[2], field))
if holder == boot then
  redis.call('HDEL', KEYS[2], field)
  announce_change(channel, 'gone', field, '')
end
return str(now)
