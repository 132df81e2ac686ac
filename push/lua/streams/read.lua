-- Read on in several logs.
-- KEYS: clock.
-- ARGV: bytes that the whole answer may have, then per stream: after, count, stream.
-- Returns {now, clock} and per stream {complete (1|0), entries, lost}. `complete`: no entry between
-- `after` and `clock` is missing, so the reader may take `clock` for its position. `lost`: up to this
-- offset unexpired entries after `after` were dropped; '0' if none was.
-- uses: packed, entry, log
local left = tonumber(ARGV[1])
local reply = { str(now), str(stored_clock()) }
local most, largest = 16, 0 -- entries read at a time, fewer if they are large

local function read(log, after, count)
  local entries = {}
  while true do
    if left <= 0 or count <= 0 then return 0, entries end
    local fit = largest > 0 and math.max(1, math.floor(left / largest)) or 1
    local wanted = math.min(count, most, fit)
    local page = redis.call('XRANGE', log, str(after + 1), '+', 'COUNT', wanted)
    for _, entry in ipairs(page) do
      entries[#entries + 1] = entry
      local size = #entry_content(entry)
      left = left - size
      largest = math.max(largest, size)
    end
    if #page < wanted then return 1, entries end
    count = count - #page
    after = tonumber(entry_offset(page[#page]))
  end
end

for i = 2, #ARGV, 3 do
  local after, count, stream = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), ARGV[i + 2]
  local lost = redis.call('GET', lost_key(stream)) or '0'
  if tonumber(lost) <= after then lost = '0' end
  local complete, entries = read(log_key(stream), after, count)
  reply[#reply + 1] = { complete, entries, lost }
end
return packed(reply)
