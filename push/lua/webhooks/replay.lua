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

local function has_failed(id)
  return redis.call('ZSCORE', webhook_failed_key(endpoint), id)
    or redis.call('HEXISTS', webhook_tries_key(endpoint), id) == 1
end

-- The endpoint is among those that the event waits for.
local function address(id, packed, event)
  if string.find(' ' .. event[4] .. ' ', ' ' .. endpoint .. ' ', 1, true) then return packed end
  event[4] = event[4] .. ' ' .. endpoint
  redis.call('HSET', WEBHOOK_EVENTS, id, cmsgpack.pack(event))
end

local page = redis.call('ZRANGEBYSCORE', WEBHOOK_LOG, '(' .. after, last, 'LIMIT', 0, limit)
for _, id in ipairs(page) do
  after = event_offset(id)
  local packed = redis.call('HGET', WEBHOOK_EVENTS, id)
  local event = packed and cmsgpack.unpack(packed)
  if event and wanted[event[1]] and (not only_failed or has_failed(id)) then
    address(id, packed, event)
    redis.call('ZADD', webhook_waiting_key(endpoint), str(now), id)
    redis.call('ZADD', webhook_due_key(endpoint), now_ms, id)
    redis.call('HDEL', webhook_tries_key(endpoint), id)
    redis.call('ZREM', webhook_failed_key(endpoint), id)
    count = count + 1
  end
end
if count > 0 then redis.call('PUBLISH', channels .. 'webhooks', '') end
return { #page == limit and after or '', count }
