-- Make, change or delete an endpoint, if it is still as the caller knows it.
-- KEYS: clock.
-- ARGV: id, what the caller knows of it ('' = it is not there), what it is to be ('' = deleted).
-- Returns the version of all endpoints that this makes; 0: it is not as the caller knows it.
-- uses: webhook_keys, webhook_endpoints
local id, known, wanted = unpack(ARGV)
if (redis.call('HGET', WEBHOOK_ENDPOINTS, id) or '') ~= known then return 0 end
if wanted == '' then
  redis.call('HDEL', WEBHOOK_ENDPOINTS, id, TESTS_FIELD .. id)
else
  redis.call('HSET', WEBHOOK_ENDPOINTS, id, wanted)
end

-- A field that is true is left out of what is stored.
local function wants_states(packed)
  local endpoint = cjson.decode(packed)
  if endpoint.enabled == false then return false end
  for _, type in ipairs(endpoint.types) do
    if is_state(type) then return true end
  end
  return false
end

local function somebody_wants_states()
  local fields = redis.call('HGETALL', WEBHOOK_ENDPOINTS)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) ~= VERSION_FIELD and wants_states(fields[i + 1]) then return true end
  end
  return false
end

if not somebody_wants_states() then
  redis.call('HDEL', WEBHOOK_ENDPOINTS, PRESENCE_FIELD)
elseif redis.call('HEXISTS', WEBHOOK_ENDPOINTS, PRESENCE_FIELD) == 0 then
  redis.call('HSET', WEBHOOK_ENDPOINTS, PRESENCE_FIELD, str(next_offset()))
end
return redis.call('HINCRBY', WEBHOOK_ENDPOINTS, VERSION_FIELD, 1)
