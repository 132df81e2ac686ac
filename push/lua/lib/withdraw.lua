-- Withdrawing an entry: it is removed, and connectors that have it in memory are notified.
-- uses: fields, entry, log, channel, remove_entry

local function withdraw_entry(stream, entry, code)
  local removed = remove_entry(stream, entry, code)
  local offset, id = read_entry(entry)
  announce(stream, '0', '0', 0, id, ENTRY_REMOVAL, '', offset)
  return removed
end

-- The entry at `offset`, if it is of the message `id` still; nil else.
local function find_entry(stream, id, offset)
  local entry = redis.call('XRANGE', log_key(stream), offset, offset)[1]
  if not entry then return nil end
  local _, found = read_entry(entry)
  return found == id and entry or nil
end
