-- What became of an attempt.
-- KEYS: clock.
-- ARGV: endpoint, event, since when it waited when it was taken, 'done', 'again' or 'lost', when it is due again
-- (ms), how long no other attempt is made (ms, '0' = does not matter), then for the log: type, status ('' = none),
-- error ('' = none), how many ms it took.
-- Returns {how it ended, 1 if it is due again because a replay has asked for it meanwhile}. It ended as ARGV says,
-- or 'superseded' where a later state is all that is tried again. Of an endpoint that was deleted meanwhile
-- nothing is kept.
-- uses: webhook_keys, webhook_end
local endpoint, id, since, outcome, due_ms, pause_ms = unpack(ARGV, 1, 6)
local type, status, failure, took_ms = unpack(ARGV, 7, 10)
if not is_known_endpoint(endpoint) then
  end_event(endpoint, id)
  return { outcome, 0 }
end

local function has_later_state()
  local packed = redis.call('HGET', WEBHOOK_EVENTS, id)
  if not packed or not is_state(type) then return false end
  local last = redis.call('HGET', webhook_states_key(endpoint), cmsgpack.unpack(packed)[2])
  return last and last ~= id
end

local waits_since = redis.call('ZSCORE', webhook_waiting_key(endpoint), id)
local is_replayed = waits_since and waits_since ~= since
if waits_since and not is_replayed then
  if outcome == 'done' then
    end_event(endpoint, id)
    redis.call('ZREM', webhook_failed_key(endpoint), id)
  elseif outcome == 'lost' then
    lose_event(endpoint, id)
  elseif has_later_state() then
    outcome = 'superseded'
    end_event(endpoint, id)
  else
    redis.call('HINCRBY', webhook_tries_key(endpoint), id, 1)
    redis.call('ZADD', webhook_due_key(endpoint), due_ms, id)
  end
end
if pause_ms ~= '0' then
  local until_ms = str(clock_ms() + tonumber(pause_ms))
  redis.call('SET', webhook_pause_key(endpoint), until_ms, 'PX', pause_ms)
end
local next_ms = outcome == 'again' and not is_replayed and due_ms or ''
local at_ms = str(clock_ms())
local attempt = cmsgpack.pack({ id, type, at_ms, status, failure, took_ms, next_ms })
local at = str(next_offset()) .. '-0'
redis.call('XADD', webhook_attempts_key(endpoint), 'MAXLEN', '~', 10000, at, 'a', attempt)
return { outcome, is_replayed and 1 or 0 }
