-- A device's cursor advances past what is in a log.
-- uses: fields, entry, log, ledger, outcomes, counters

-- Past what is behind `cursor`, up to `to`: `code` for each message that the device had not finished with;
-- with ACKNOWLEDGED they count as written where `position` had not come. Returns how many messages that have
-- counters.
local function advance_past(stream, token, cursor, position, to, code)
  local listed, after = is_listed(stream), cursor
  local counted = 0
  while true do
    local page = redis.call('XRANGE', log_key(stream), str(after + 1), str(to), 'COUNT', 100)
    for _, entry in ipairs(page) do
      local offset, id, _, field = read_entry(entry)
      after = tonumber(offset)
      if field == ENTRY_MESSAGE then
        if listed then
          record_outcome(stream, id, token, code, code == ACKNOWLEDGED)
        else
          if code == ACKNOWLEDGED and after > position then count_written(id, 1) end
          count_outcome(id, code, 1)
          counted = counted + 1
        end
      end
    end
    if #page < 100 then return counted end
  end
end
