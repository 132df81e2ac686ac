-- Append a message to each stream's log and announce it on its channel, or only announce it.
-- KEYS: clock, then a log and a guard per stream; a stream whose guard is named and missing is
-- left out. ARGV: id, ttl_seconds, stored (1|0), field ('m'|'c'), body, max_age_us, then a channel
-- per stream. Returns {now, offset} and per stream how many heard it, -1 where the guard is missing.
local id, ttl, stored = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local field, body, max_age = ARGV[4], ARGV[5], tonumber(ARGV[6])

local offset = 0
if stored then
  offset = next_offset()
end
local reply = {str(now), str(offset)}

for i = 1, (#KEYS - 1) / 2 do
  local log, guard, channel = KEYS[2 * i], KEYS[2 * i + 1], ARGV[6 + i]
  if guard ~= '' and redis.call('EXISTS', guard) == 0 then
    reply[#reply + 1] = -1
  else
    local previous = stored and append(log, offset, ttl, max_age, id, field, body) or '0'
    reply[#reply + 1] = announce(channel, previous, offset, now, ttl, id, field, body)
  end
end
return reply
