-- From what the scripts wrote down into the outboxes of the endpoints.
-- uses: webhook_keys, webhook_end, webhooks

-- An endpoint is to have it. Of states only the last is tried again.
local function queue_event(endpoint, id, offset, type, source, max_waiting)
  local waiting = webhook_waiting_key(endpoint)
  redis.call('ZADD', waiting, offset, id)
  redis.call('ZADD', webhook_due_key(endpoint), str(math.floor(tonumber(offset) / 1000)), id)
  if is_state(type) then
    local states = webhook_states_key(endpoint)
    local before = redis.call('HGET', states, source)
    redis.call('HSET', states, source, id)
    if before and redis.call('HEXISTS', webhook_tries_key(endpoint), before) == 1 then
      end_event(endpoint, before)
    end
  end
  if redis.call('ZCARD', waiting) > max_waiting then
    lose_event(endpoint, redis.call('ZRANGEBYSCORE', waiting, '-inf', '+inf', 'LIMIT', 0, 1)[1])
  end
end

-- At most `limit` events. Returns how many are left.
local function fill_outboxes(limit)
  local kept = redis.call('HMGET', WEBHOOK_WANTED, 'server', 'max_waiting')
  local server, max_waiting = kept[1] or '0', tonumber(kept[2] or '1')
  for _ = 1, limit do
    local packed = redis.call('LPOP', WEBHOOK_INBOX)
    if not packed then break end
    local offset, type, source, seq, endpoints, data, trace = unpack(cmsgpack.unpack(packed))
    -- The parts of a message's record on several servers count alone, so each is a source of its own.
    if server ~= '0' and string.sub(source, 1, 8) == 'message:' then source = source .. '@' .. server end
    local id, known = event_id(offset, server), known_of(endpoints)
    if #known > 0 then
      local event = cmsgpack.pack({ type, source, seq, table.concat(known, ' '), data, trace or '' })
      redis.call('HSET', WEBHOOK_EVENTS, id, event)
      if #event <= MAX_LOGGED_BYTES then redis.call('ZADD', WEBHOOK_LOG, offset, id) end
    end
    for _, endpoint in ipairs(known) do
      queue_event(endpoint, id, offset, type, source, max_waiting)
    end
  end
  local over = redis.call('ZCARD', WEBHOOK_LOG) - max_waiting
  if over > 0 then trim_log('+inf', math.min(over, 2 * limit)) end
  return redis.call('LLEN', WEBHOOK_INBOX)
end
