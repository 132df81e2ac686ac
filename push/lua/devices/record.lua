-- The record of a device, as it is at its home: fields and values, none when there is no such device.
-- ARGV: token; '1' if there are other servers.
local record = prefix .. 'device:' .. ARGV[1]
if ARGV[2] == '1' then check_groups(record, ARGV[1]) end
return redis.call('HGETALL', record)
