-- What the id of an event stands for: how far each stream was written when that event was.
-- KEYS: clock.
-- ARGV: token, session and number of the event.
-- Returns {stream, offset, ...}, empty if the event is not known (any more).
-- uses: event_positions
local token, session, number = ARGV[1], ARGV[2], tonumber(ARGV[3])
local is_known, offsets, order = false, {}, {}

for _, event in ipairs(redis.call('ZRANGEBYSCORE', event_positions_key(token), '-inf', '+inf')) do
  local of, n, stream, offset = string.match(event, '^(%x+)%.(%d+) (%S+) (%d+)$')
  n, offset = tonumber(n), tonumber(offset)
  if of == session and n <= number then
    is_known = is_known or n == number
    if not offsets[stream] then order[#order + 1] = stream end
    offsets[stream] = math.max(offsets[stream] or 0, offset)
  end
end
if not is_known then return {} end
local position = {}
for _, stream in ipairs(order) do
  position[#position + 1] = stream
  position[#position + 1] = str(offsets[stream])
end
return position
