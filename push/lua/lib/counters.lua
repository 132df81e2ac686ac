-- What became of a message that has counters in the ledger.
-- uses: fields, ledger

-- `count` devices finish with it. One that is given up as unacknowledged counts so even if its entry left the
-- log a moment before: an acknowledgement that comes later knows then what it replaces.
local function count_outcome(id, code, count)
  local key = message_key(id)
  local kept = redis.call('HMGET', key, LEDGER_ADDRESSED, LEDGER_CLOSED_WITH)
  if not kept[1] then return end
  if kept[2] then
    if code ~= ACKNOWLEDGED and code ~= DROPPED_UNACKNOWLEDGED then return end
    redis.call('HINCRBY', key, kept[2], -count)
  end
  redis.call('HINCRBY', key, code, count)
end

-- `count` more sessions were handed it.
local function count_written(id, count)
  local key = message_key(id)
  if redis.call('EXISTS', key) == 1 then redis.call('HINCRBY', key, LEDGER_WRITTEN, count) end
end
