-- The entry of a message leaves the log of a stream: the ledger says so for all who had not finished with it.
-- uses: fields, ledger, outcomes

-- How many have not finished with a message that has counters.
local function count_waiting(key)
  local fields = redis.call('HGETALL', key)
  local waiting = 0
  for i = 1, #fields, 2 do
    local name = fields[i]
    if name == LEDGER_ADDRESSED then
      waiting = waiting + tonumber(fields[i + 1])
    elseif
      name == ACKNOWLEDGED
      or name == EXPIRED
      or name == CANCELLED
      or string.sub(name, 1, 2) == DROPPED
    then
      waiting = waiting - tonumber(fields[i + 1])
    end
  end
  return waiting
end

-- `code` for all who had not finished with it. Returns for how many devices.
local function close_message(stream, id, code)
  if string.sub(stream, 1, 4) == 'dev:' then
    return record_outcome(stream, id, string.sub(stream, 5), code) and 1 or 0
  end
  local key = message_key(id)
  local changed = 0
  if string.sub(stream, 1, 5) == 'user:' then
    local tokens = redis.call('HGET', key, LEDGER_TOKENS .. string.sub(stream, 6)) or ''
    for token in string.gmatch(tokens, '%S+') do
      if record_outcome(stream, id, token, code) then changed = changed + 1 end
    end
    return changed
  end
  local kept = redis.call('HMGET', key, LEDGER_ADDRESSED, LEDGER_CLOSED_WITH)
  if not kept[1] or kept[2] then return 0 end
  changed = count_waiting(key)
  if changed > 0 then redis.call('HINCRBY', key, code, changed) end
  redis.call('HSET', key, LEDGER_CLOSED_WITH, code, LEDGER_CLOSED_AT, str(now))
  return changed
end
