-- An event for webhooks is written down in the step that decides it: there is no event without the fact, and no
-- fact without the event. Where no endpoint wants its type, that costs one look. What is written down is put
-- into the outboxes of endpoints by the daemon that delivers, see webhook_outbox.lua.
local WEBHOOK_WANTED = prefix .. 'webhook-wanted'
local GONE_FIELD = 'gone '
local WEBHOOK_INBOX = prefix .. 'webhook-inbox'
local WEBHOOK_LOST = prefix .. 'webhook-lost'
local webhook_endpoints = {}

-- The ids of the endpoints that want events of this type, by spaces; false if none does.
local function endpoints_for(type)
  if webhook_endpoints[type] == nil then
    webhook_endpoints[type] = redis.call('HGET', WEBHOOK_WANTED, type)
  end
  return webhook_endpoints[type]
end

-- `source` counts its events with `seq`; `data` is JSON; `trace`: a traceparent, nil for none; `endpoints`:
-- those that get it, nil for all that want the type. If nobody delivers, the first of too many are lost.
-- Returns when the event was decided.
local function put_event(type, source, seq, data, trace, endpoints)
  local offset, to = str(next_offset()), endpoints or endpoints_for(type)
  local event = cmsgpack.pack({ offset, type, source, seq, to, data, trace or '' })
  local count = redis.call('RPUSH', WEBHOOK_INBOX, event)
  if count == 1 then redis.call('PUBLISH', channels .. 'webhooks', '') end
  if count > tonumber(redis.call('HGET', WEBHOOK_WANTED, 'max_waiting') or '1') then
    redis.call('HINCRBY', WEBHOOK_LOST, cmsgpack.unpack(redis.call('LPOP', WEBHOOK_INBOX))[5], 1)
  end
  return offset
end

local function json_text(text) return text and text ~= '' and '"' .. text .. '"' or 'null' end
