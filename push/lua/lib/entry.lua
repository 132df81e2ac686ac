-- Reading the entries of a log: the one place, with append.lua, that knows their form. An entry is
-- {i, id, x, expiry in ms, field, body} and, with a collapse key, {k, key}; the field is MESSAGE, or CONTROL
-- for what is for the connector.

local function entry_offset(entry) return string.match(entry[1], '^%d+') end

local function entry_id(entry) return entry[2][2] end

local function entry_expires_ms(entry) return tonumber(entry[2][4]) end

local function entry_field(entry) return entry[2][5] end

local function entry_body(entry) return entry[2][6] end

local function entry_collapse(entry) return entry[2][7] == 'k' and entry[2][8] end
