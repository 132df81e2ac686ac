-- Where a device ceased to follow a stream while a session had it: '<session> <cursor> <position> <to> <code>,'
-- for each time. The connector may know of more than was stored until then: what the session was handed and
-- has acknowledged. Its last words replace what is counted here.
local function ended_key(token) return prefix .. 'ended:' .. token end
