-- A test event for one endpoint.
-- KEYS: clock.
-- ARGV: endpoint, type, data (JSON).
-- Returns when it was decided.
-- uses: webhooks, webhook_endpoints
local endpoint, type, data = unpack(ARGV)
local seq = redis.call('HINCRBY', WEBHOOK_ENDPOINTS, TESTS_FIELD .. endpoint, 1)
return put_event(type, 'webhook:' .. endpoint, seq, data, nil, endpoint)
