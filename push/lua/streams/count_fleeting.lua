-- Count what became of messages that are in no log.
-- KEYS: clock.
-- ARGV: as msgpack a list of {id, token ('' where the message has counters), code (LEDGER_WRITTEN,
-- ACKNOWLEDGED or DROPPED<reason>), count}.
-- Returns 1.
-- uses: fields, outcomes, counters
for _, item in ipairs(cmsgpack.unpack(ARGV[1])) do
  local id, token, code, count = unpack(item)
  local written = code == LEDGER_WRITTEN
  if token ~= '' and written then
    note_written(id, token)
  elseif token ~= '' then
    record_outcome(id, token, code, code == ACKNOWLEDGED)
  elseif written then
    count_written(id, count)
  else
    count_outcome(id, code, count)
  end
end
return 1
