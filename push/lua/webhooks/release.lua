-- A process delivers for an endpoint no longer: another may begin at once.
-- KEYS: clock.
-- ARGV: endpoint, boot id.
-- Returns 1.
-- uses: webhook_keys
local lease = webhook_lease_key(ARGV[1])
if redis.call('GET', lease) == ARGV[2] then redis.call('DEL', lease) end
return 1
