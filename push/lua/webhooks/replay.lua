-- Events go to an endpoint again, a part at a time.
-- KEYS: clock.
-- ARGV: endpoint, the types (by spaces), after and until which offset, '1' if only what it does not have and was
-- tried, at most how many are looked at.
-- Returns {offset to go on after ('' at the end), how many}.
-- uses: webhook_keys
local endpoint, after, last, only_failed, limit = ARGV[1], ARGV[3], ARGV[4], ARGV[5] == '1', tonumber(ARGV[6])
local wanted = {}
for type in string.gmatch(ARGV[2], '%S+') do
  wanted[type] = true
end
local now_ms, count = str(clock_ms()), 0
-- Where an event has these, see webhook_outbox.lua.
local EVENT_TYPE = 1
local EVENT_ENDPOINTS = 4

local function has_failed(id)
  return redis.call('ZSCORE', webhook_failed_key(endpoint), id)
    or redis.call('HEXISTS', webhook_tries_key(endpoint), id) == 1
end

-- The endpoint is among those that the event waits for.
local function address(id, event)
  local endpoints = event[EVENT_ENDPOINTS]
  if string.find(' ' .. endpoints .. ' ', ' ' .. endpoint .. ' ', 1, true) then return end
  event[EVENT_ENDPOINTS] = endpoints .. ' ' .. endpoint
  redis.call('HSET', WEBHOOK_EVENTS, id, cmsgpack.pack(event))
end

local page = redis.call('ZRANGEBYSCORE', WEBHOOK_LOG, '(' .. after, last, 'LIMIT', 0, limit)
for _, id in ipairs(page) do
  after = event_offset(id)
  local packed = redis.call('HGET', WEBHOOK_EVENTS, id)
  local event = packed and cmsgpack.unpack(packed)
  if event and wanted[event[EVENT_TYPE]] and (not only_failed or has_failed(id)) then
    address(id, event)
    redis.call('ZADD', webhook_waiting_key(endpoint), str(now), id)
    redis.call('ZADD', webhook_due_key(endpoint), now_ms, id)
    redis.call('HDEL', webhook_tries_key(endpoint), id)
    redis.call('ZREM', webhook_failed_key(endpoint), id)
    count = count + 1
  end
end
if count > 0 then redis.call('PUBLISH', channels .. 'webhooks', '') end
return { #page == limit and after or '', count }
