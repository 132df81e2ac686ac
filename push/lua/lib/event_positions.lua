-- What the ids of events stand for (GET /v1/stream): a sorted set for each device, from the oldest on. A member
-- is "<session>.<number> <stream> <offset>": when this event was written, the stream was written up to there.
local function event_positions_key(token) return prefix .. 'event-positions:' .. token end
