-- Which sessions are their device's still.
-- KEYS: clock.
-- ARGV: token, session, ...
-- Returns the numbers (from 1) of those that are not.
-- uses: fields, devices
local lost = {}
for i = 1, #ARGV, 2 do
  if redis.call('HGET', device_key(ARGV[i]), DEVICE_SESSION) ~= ARGV[i + 1] then
    lost[#lost + 1] = (i + 1) / 2
  end
end
return lost
