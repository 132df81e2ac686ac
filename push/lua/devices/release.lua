-- A device's session is over because its connector is: from now on it is away.
-- ARGV: token, boot id of the connector, retention_seconds. Does nothing if another has it by now.
local record = prefix .. 'device:' .. ARGV[1]
if redis.call('HGET', record, 'b') ~= ARGV[2] then return 0 end
redis.call('HDEL', record, 's', 'b', 'n')
local until_ms = math.floor(now / 1000) + tonumber(ARGV[3]) * 1000
redis.call('ZADD', prefix .. 'devices', str(until_ms), ARGV[1])
return 1
