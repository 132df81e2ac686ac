-- Move cursors forward and trim what nobody needs any more.
-- KEYS: clock, then per cursor the record of its device and the log to trim ('' for a shared one).
-- ARGV: per cursor the session that claims it, the stream, the offset.
-- Returns the numbers (from 1) of the cursors whose session is not the record's any more.
local lost = {}
for i = 1, (#KEYS - 1) / 2 do
  local record, log = KEYS[2 * i], KEYS[2 * i + 1]
  local session, stream, offset = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local field = 'c:' .. stream
  local kept = redis.call('HMGET', record, 's', field)
  if kept[1] ~= session then
    lost[#lost + 1] = i
  elseif kept[2] and tonumber(offset) > tonumber(kept[2]) then
    redis.call('HSET', record, field, offset)
    if log ~= '' then
      redis.call('XTRIM', log, 'MINID', str(tonumber(offset) + 1))
      if redis.call('XLEN', log) == 0 then redis.call('DEL', log) end
    end
  end
end
return lost
