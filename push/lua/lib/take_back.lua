-- A message is removed from a stream for those who have not read it.
-- uses: fields, log, ledger, withdraw

local function take_back(stream, id)
  local kept = redis.call('HMGET', message_key(id), LEDGER_OFFSET_IN .. stream, LEDGER_OFFSET)
  local offset = kept[1] or kept[2]
  local entry = offset and find_entry(stream, id, offset)
  if not entry then return end
  withdraw_entry(stream, entry, CANCELLED)
  delete_if_empty(stream)
end
