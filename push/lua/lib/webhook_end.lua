-- The end of an event in the outbox of an endpoint.
-- uses: webhook_keys, webhooks
local known_endpoints = nil
-- Of a larger event only what was lost can be replayed: others of them are not kept once they are delivered.
local MAX_LOGGED_BYTES = 8192

-- Whether an endpoint is there, as far as this server was told; a deleted one gets nothing and keeps nothing.
local function is_known_endpoint(endpoint)
  known_endpoints = known_endpoints or redis.call('HGET', WEBHOOK_WANTED, 'endpoints')
  return not known_endpoints
    or string.find(' ' .. known_endpoints .. ' ', ' ' .. endpoint .. ' ', 1, true) ~= nil
end

-- Of ids by spaces those that are known.
local function known_of(endpoints)
  local known = {}
  for endpoint in string.gmatch(endpoints, '%S+') do
    if is_known_endpoint(endpoint) then known[#known + 1] = endpoint end
  end
  return known
end

-- It is kept no longer, if it can neither be replayed nor waits for another endpoint.
local function drop_event(id, endpoints)
  if redis.call('ZSCORE', WEBHOOK_LOG, id) then return end
  for endpoint in string.gmatch(endpoints, '%S+') do
    if redis.call('ZSCORE', webhook_waiting_key(endpoint), id) then return end
  end
  redis.call('HDEL', WEBHOOK_EVENTS, id)
end

local function end_event(endpoint, id)
  redis.call('ZREM', webhook_due_key(endpoint), id)
  redis.call('ZREM', webhook_waiting_key(endpoint), id)
  redis.call('HDEL', webhook_tries_key(endpoint), id)
  local packed = redis.call('HGET', WEBHOOK_EVENTS, id)
  if not packed then return end
  local type, source, _, endpoints = unpack(cmsgpack.unpack(packed))
  local states = webhook_states_key(endpoint)
  if is_state(type) and redis.call('HGET', states, source) == id then redis.call('HDEL', states, source) end
  drop_event(id, endpoints)
end

-- It is given up: counted, and found by a replay of what failed.
local function lose_event(endpoint, id)
  redis.call('HINCRBY', WEBHOOK_LOST, endpoint, 1)
  redis.call('ZADD', webhook_failed_key(endpoint), event_offset(id), id)
  if redis.call('HSTRLEN', WEBHOOK_EVENTS, id) > MAX_LOGGED_BYTES then
    redis.call('ZADD', WEBHOOK_LOG, event_offset(id), id)
  end
  end_event(endpoint, id)
end

-- At most `limit` of those that wait for longer than `max_age_us` are given up. Returns how many that were.
local function lose_aged(endpoint, max_age_us, limit)
  local waiting, oldest = webhook_waiting_key(endpoint), str(now - max_age_us)
  local ids = redis.call('ZRANGEBYSCORE', waiting, '-inf', oldest, 'LIMIT', 0, limit)
  for _, id in ipairs(ids) do
    lose_event(endpoint, id)
  end
  return #ids
end

-- At most `limit` of the oldest, up to the offset `before` ('+inf': any), can be replayed no longer. Returns how
-- many that were.
local function trim_log(before, limit)
  local ids = redis.call('ZRANGEBYSCORE', WEBHOOK_LOG, '-inf', before, 'LIMIT', 0, limit)
  for _, id in ipairs(ids) do
    redis.call('ZREM', WEBHOOK_LOG, id)
    local packed = redis.call('HGET', WEBHOOK_EVENTS, id)
    if packed then drop_event(id, cmsgpack.unpack(packed)[4]) end
  end
  return #ids
end
