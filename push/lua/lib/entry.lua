-- Reading the entries of a log: the one place, with append.lua, that knows their form. An entry is
-- {i, id, x, expiry in ms, field, content} and, with a collapse key, {k, key}; the field is ENTRY_MESSAGE, or
-- ENTRY_CONTROL for what is for the connector.

local function entry_offset(entry) return string.match(entry[1], '^%d+') end

local function entry_content(entry) return entry[2][6] end

-- Its offset (as text), id, expiry in ms, field, content, and collapse key (nil where it has none).
local function read_entry(entry)
  local fields = entry[2]
  return entry_offset(entry), fields[2], tonumber(fields[4]), fields[5], fields[6], fields[8]
end
