-- The record of a device, as it is at its home.
-- KEYS: clock.
-- ARGV: token; '1' if there are other servers.
-- Returns fields and values, none when there is no such device.
-- uses: devices, check_groups
local record = device_key(ARGV[1])
if ARGV[2] == '1' then check_groups(record, ARGV[1]) end
return redis.call('HGETALL', record)
