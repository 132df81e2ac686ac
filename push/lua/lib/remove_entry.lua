-- Removing an entry from a log before its time.
-- uses: fields, entry, log, close_message

-- `code` for all who had not finished with it; what has expired counts as that. What was neither expired nor
-- asked for is a loss to those who had not read it (rule 7). Returns for how many devices.
local function remove_entry(stream, entry, code)
  local offset, id, expires_ms, field, _, collapse = read_entry(entry)
  redis.call('XDEL', log_key(stream), entry[1])
  if collapse and redis.call('HGET', collapse_key(stream), collapse) == offset then
    redis.call('HDEL', collapse_key(stream), collapse)
  end
  if expires_ms <= now / 1000 then
    code = EXPIRED
  elseif code == DROPPED_BACKLOG or code == DROPPED_RETENTION then
    redis.call('SET', lost_key(stream), offset, 'EX', 30 * DAY_SECONDS)
  end
  return field == ENTRY_MESSAGE and close_message(stream, id, code) or 0
end
