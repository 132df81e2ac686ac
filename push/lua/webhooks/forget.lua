-- An endpoint is deleted: what waits for it goes, a part at a time, and with the last of it all that is kept.
-- KEYS: clock.
-- ARGV: endpoint.
-- Returns 1 if there is more. Does nothing where the endpoint is known (again).
-- uses: webhook_keys, webhook_end, webhooks
local endpoint = ARGV[1]
if is_known_endpoint(endpoint) then return 0 end
local ids = redis.call('ZRANGEBYSCORE', webhook_waiting_key(endpoint), '-inf', '+inf', 'LIMIT', 0, 200)
for _, id in ipairs(ids) do
  end_event(endpoint, id)
end
if #ids == 200 then return 1 end
for _, endpoints in ipairs(redis.call('HKEYS', WEBHOOK_LOST)) do
  if #known_of(endpoints) == 0 then redis.call('HDEL', WEBHOOK_LOST, endpoints) end
end
-- stylua: ignore
redis.call('DEL', webhook_waiting_key(endpoint), webhook_due_key(endpoint), webhook_tries_key(endpoint),
  webhook_states_key(endpoint), webhook_failed_key(endpoint), webhook_attempts_key(endpoint),
  webhook_lease_key(endpoint), webhook_pause_key(endpoint))
redis.call('HDEL', WEBHOOK_WANTED, GONE_FIELD .. endpoint)
return 0
