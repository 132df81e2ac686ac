-- Make, change or delete an endpoint, if it is still as the caller knows it.
-- KEYS: clock.
-- ARGV: id, what the caller knows of it ('' = it is not there), what it is to be ('' = deleted).
-- Returns the version of all endpoints that this makes; 0: it is not as the caller knows it.
-- uses: webhook_endpoints
local id, known, wanted = unpack(ARGV)
if (redis.call('HGET', WEBHOOK_ENDPOINTS, id) or '') ~= known then return 0 end
if wanted == '' then
  redis.call('HDEL', WEBHOOK_ENDPOINTS, id, TESTS_FIELD .. id)
else
  redis.call('HSET', WEBHOOK_ENDPOINTS, id, wanted)
end
return redis.call('HINCRBY', WEBHOOK_ENDPOINTS, VERSION_FIELD, 1)
