-- Removing an entry from a log before its time.
-- uses: fields, entry, log, close_message

-- `code` for all who had not finished with it; what has expired counts as that. What was neither expired nor
-- asked for is a loss to those who had not read it (rule 7). Returns for how many devices.
local function remove_entry(stream, entry, code)
  local offset, collapse = entry_offset(entry), entry_collapse(entry)
  redis.call('XDEL', log_key(stream), entry[1])
  if collapse and redis.call('HGET', collapse_key(stream), collapse) == offset then
    redis.call('HDEL', collapse_key(stream), collapse)
  end
  if entry_expires_ms(entry) <= now / 1000 then
    code = EXPIRED
  elseif code == DROPPED_BACKLOG or code == DROPPED_RETENTION then
    redis.call('SET', lost_key(stream), offset, 'EX', 30 * DAY_SECONDS)
  end
  return entry_field(entry) == MESSAGE and close_message(stream, entry_id(entry), code) or 0
end
