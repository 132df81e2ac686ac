-- Devices.
-- KEYS: clock.
-- ARGV: tokens.
-- Returns per device that is there {token, platform, app, session, boot id of its connector, name of its
-- node, seen}.
-- uses: packed, fields, devices
local FIELDS = { DEVICE_PLATFORM, DEVICE_APP, DEVICE_SESSION, DEVICE_BOOT, DEVICE_NODE, DEVICE_SEEN }
local found = {}
for _, token in ipairs(ARGV) do
  local values = redis.call('HMGET', device_key(token), unpack(FIELDS))
  if values[1] then
    local device = { token }
    -- A nil would end the list.
    for i = 1, #FIELDS do
      device[i + 1] = values[i] or ''
    end
    found[#found + 1] = device
  end
end
return packed(found)
