-- The streams that a user follows, with all their devices: those of their groups.

local function user_streams_key(user) return prefix .. 'user-streams:' .. user end

-- By which act of the user's own a stream is followed or not: "<version> <kind> <detail>".
local function user_stream_versions_key(user) return prefix .. 'user-stream-versions:' .. user end
