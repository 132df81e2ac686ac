-- What became of a message for one device: the lines of the ledger.
-- uses: fields, ledger, message_events

-- It was written to the device.
local function note_written(id, token)
  local key, field = message_key(id), LEDGER_LINE .. token
  local line = redis.call('HGET', key, field)
  if not line or string.sub(line, 2, 2) ~= '0' then return end
  if string.sub(line, 1, 1) == WAITING then
    redis.call('HSET', key, field, WAITING .. '1 ' .. str(clock_ms()) .. ' ')
  else
    redis.call('HSET', key, field, string.sub(line, 1, 1) .. '1' .. string.sub(line, 3))
  end
end

-- A device finishes with a message, which came by `stream`. Returns whether this changed anything.
local function record_outcome(stream, id, token, code, written)
  local key, field = message_key(id), LEDGER_LINE .. token
  local line = redis.call('HGET', key, field)
  if not line then return false end
  local state = string.sub(line, 1, 1)
  if state ~= WAITING and (state == ACKNOWLEDGED or code ~= ACKNOWLEDGED) then
    if written then note_written(id, token) end
    return false
  end
  local flag, reason = written and '1' or string.sub(line, 2, 2), string.sub(code, 3)
  state = string.sub(code, 1, 1)
  redis.call('HSET', key, field, state .. flag .. ' ' .. str(clock_ms()) .. ' ' .. reason)
  put_outcome_event(id, token, state, reason, stream)
  return true
end
