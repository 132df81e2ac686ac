-- Take what is due for an endpoint. One process delivers for it at a time; what is on its way stays due, and the
-- process knows it: so another that takes over begins with the same, in the same order.
-- KEYS: clock.
-- ARGV: endpoint, boot id, lease_ms, at most how many, max_age_us.
-- Returns {} when another process has the endpoint or it was deleted, else {when something is due next, in ms
-- ('' = nothing), how many wait, how many were lost by their age, then per event: id, failed attempts, since when
-- it waits ('' = it does not any more), event as msgpack}.
-- uses: webhook_keys, webhook_end, webhook_outbox
local endpoint, boot, lease_ms, limit = unpack(ARGV, 1, 4)
fill_outboxes(200)
if not is_known_endpoint(endpoint) then return {} end
local lease = webhook_lease_key(endpoint)
local holder = redis.call('GET', lease)
if holder and holder ~= boot then return {} end
redis.call('SET', lease, boot, 'PX', lease_ms)

local due, waiting = webhook_due_key(endpoint), webhook_waiting_key(endpoint)
local max_age_us = tonumber(ARGV[5])
local lost = lose_aged(endpoint, max_age_us, 100)

local now_ms = clock_ms()
local answer = { '', redis.call('ZCARD', waiting), lost }
local paused = redis.call('GET', webhook_pause_key(endpoint))
if paused then
  answer[1] = paused
  return answer
end
local too_old = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', str(now_ms), 'LIMIT', 0, limit)) do
  local packed = redis.call('HGET', WEBHOOK_EVENTS, id)
  local since = redis.call('ZSCORE', waiting, id)
  if packed and since and tonumber(since) <= now - max_age_us then
    too_old = too_old + 1 -- the next look gives it up
  elseif packed then
    answer[#answer + 1] = id
    answer[#answer + 1] = tonumber(redis.call('HGET', webhook_tries_key(endpoint), id) or '0')
    answer[#answer + 1] = since or ''
    answer[#answer + 1] = packed
  else
    end_event(endpoint, id)
  end
end
local later = redis.call('ZRANGEBYSCORE', due, '(' .. str(now_ms), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
answer[1] = too_old > 0 and now_ms or later[2] or ''
return answer
