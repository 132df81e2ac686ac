-- A device's session is over because its connector is: from now on it is offline. Does nothing if another has
-- it by now.
-- KEYS: clock.
-- ARGV: token, boot id of the connector, retention_seconds.
-- Returns 1, or 0 when it did nothing.
-- uses: fields, devices, sessions, device_events
local token, boot, retention_seconds = ARGV[1], ARGV[2], ARGV[3]
local record = device_key(token)
if redis.call('HGET', record, DEVICE_BOOT) ~= boot then return 0 end
end_session(record)
keep_device(token, retention_seconds)
device_lost_session(token, boot)
return 1
