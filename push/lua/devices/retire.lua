-- Devices whose time is over. ARGV: how many, seconds until they are looked at again.
-- Returns {token, boot id that the record names ('' where none)} for each.
local now_ms = math.floor(now / 1000)
local due = claim_due(prefix .. 'devices', now_ms, now_ms + tonumber(ARGV[2]) * 1000, ARGV[1])
local found = {}
for i, token in ipairs(due) do
  found[i] = {token, redis.call('HGET', prefix .. 'device:' .. token, 'b') or ''}
end
return found
