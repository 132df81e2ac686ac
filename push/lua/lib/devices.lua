-- Devices: the record device:<token>, whose fields are in fields.lua, and when each is forgotten unless it
-- connects before.
local DEVICES_KEY = prefix .. 'devices'

local function device_key(token) return prefix .. 'device:' .. token end

-- The device is forgotten in `seconds`, unless it has a session then.
local function keep_device(token, seconds)
  redis.call('ZADD', DEVICES_KEY, str(clock_ms() + tonumber(seconds) * 1000), token)
end
