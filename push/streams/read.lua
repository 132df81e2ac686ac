-- Read on in several logs. KEYS: clock, then a log per stream.
-- ARGV: bytes that the whole answer may have, then per stream: after, count.
-- Returns {now, clock} and per stream {complete (1|0), entries}. `complete`: no entry between
-- `after` and `clock` is missing, so the reader may take `clock` for its position.
local left = tonumber(ARGV[1])
local reply = {str(now), str(stored_clock())}
local page_entries = 16

local function read(log, after, count)
  local entries = {}
  while true do
    if left <= 0 or count <= 0 then return {0, entries} end
    local wanted = math.min(count, page_entries)
    local page = redis.call('XRANGE', log, str(after + 1), '+', 'COUNT', wanted)
    for _, entry in ipairs(page) do
      entries[#entries + 1] = entry
      left = left - #entry[2][6]
    end
    if #page < wanted then return {1, entries} end
    count = count - #page
    after = tonumber(string.match(page[#page][1], '^%d+'))
  end
end

for i = 2, #KEYS do
  reply[#reply + 1] = read(KEYS[i], tonumber(ARGV[2 * i - 2]), tonumber(ARGV[2 * i - 1]))
end
return reply
