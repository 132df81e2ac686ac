-- A connector is gone: its devices are told offline after the grace time, unless they reconnect. A part at a time.
-- KEYS: clock.
-- ARGV: boot id.
-- Returns 1 if there is more.
-- uses: device_events
local boot = ARGV[1]
local range = { '[' .. boot .. ' ', '[' .. boot .. '!' }
local members = redis.call('ZRANGEBYLEX', ONLINE_KEY, range[1], range[2], 'LIMIT', 0, 200)
for _, member in ipairs(members) do
  redis.call('ZREM', ONLINE_KEY, member)
  device_lost_session(string.sub(member, #boot + 2))
end
return #members == 200 and 1 or 0
