-- Webhooks are told what became of a message for a device.
-- uses: fields, ledger, webhooks

-- There is no event for a cancelled one.
local OUTCOME_EVENTS = { a = 'message.acknowledged', d = 'message.dropped', e = 'message.expired' }

-- `stream`: by which the device was addressed.
local function put_outcome_event(id, token, state, reason, stream)
  local type = OUTCOME_EVENTS[state]
  if not type or not endpoints_for(type) then return end
  local user = string.match(stream, '^user:(.+)$')
  local seq = redis.call('HINCRBY', message_key(id), LEDGER_EVENT_COUNT, 1)
  local data = '{"message":"' .. id .. '","token":"' .. token .. '","user":' .. json_text(user)
  local trace = redis.call('HGET', message_key(id), LEDGER_TRACE)
  put_event(type, 'message:' .. id, seq, data .. ',"reason":' .. json_text(reason) .. '}', trace)
end
