-- Which endpoints want events of which type, for the scripts of this server. What was made of an earlier version
-- of the endpoints than what is known changes nothing.
-- KEYS: clock.
-- ARGV: version, index of this server, max_waiting, grace_ms, then per type that is wanted: type, ids of the
-- endpoints.
-- Returns 1, or 0 when it did nothing.
-- uses: webhook_keys, webhooks
local kept = redis.call('HMGET', WEBHOOK_WANTED, 'version', 'presence')
if kept[1] and tonumber(kept[1]) > tonumber(ARGV[1]) then return 0 end
local presence = nil
for i = 5, #ARGV, 2 do
  if is_state(ARGV[i]) then presence = kept[2] or presence or str(next_offset()) end
end
redis.call('DEL', WEBHOOK_WANTED)
-- stylua: ignore
redis.call('HSET', WEBHOOK_WANTED, 'version', ARGV[1], 'server', ARGV[2], 'max_waiting', ARGV[3],
  'grace_ms', ARGV[4], unpack(ARGV, 5))
if presence then redis.call('HSET', WEBHOOK_WANTED, 'presence', presence) end
return 1
