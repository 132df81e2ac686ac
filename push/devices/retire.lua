-- Devices whose time is over. ARGV: how many, seconds until they are looked at again.
-- Returns {token, boot id that the record names ('' where none)} for each.
local devices = prefix .. 'devices'
local now_ms = math.floor(now / 1000)
local due = redis.call('ZRANGEBYSCORE', devices, '-inf', str(now_ms), 'LIMIT', 0, ARGV[1])
local found = {}
for _, token in ipairs(due) do
  found[#found + 1] = {token, redis.call('HGET', prefix .. 'device:' .. token, 'b') or ''}
  redis.call('ZADD', devices, str(now_ms + tonumber(ARGV[2]) * 1000), token)
end
return found
