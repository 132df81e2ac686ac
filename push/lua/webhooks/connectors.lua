-- The connectors whose sessions are watched.
-- KEYS: clock.
-- ARGV: nothing.
-- Returns their boot ids.
-- uses: device_events
local boots, after = {}, '-'
while true do
  local member = redis.call('ZRANGEBYLEX', ONLINE_KEY, after, '+', 'LIMIT', 0, 1)[1]
  if not member then return boots end
  local boot = string.match(member, '^%S+')
  boots[#boots + 1] = boot
  after = '[' .. boot .. '!' -- the character after the blank
end
