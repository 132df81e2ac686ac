-- The session of a device, as its record names it.
-- uses: fields

-- It is over. What the record says of where it was goes.
local function end_session(record) redis.call('HDEL', record, DEVICE_SESSION, DEVICE_BOOT, DEVICE_NODE) end
