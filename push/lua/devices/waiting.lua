-- How many messages wait for a device, in all streams that it follows. ARGV: token, at most how many are
-- counted in a stream that many follow.
local record = prefix .. 'device:' .. ARGV[1]
local most, now_ms = tonumber(ARGV[2]), now / 1000

local function count(stream, cursor)
  local waiting, seen, after = 0, 0, cursor
  while seen < most do
    local page = redis.call('XRANGE', prefix .. 'log:' .. stream, str(after + 1), '+', 'COUNT', 200)
    for _, entry in ipairs(page) do
      after = tonumber(string.match(entry[1], '^%d+'))
      if entry[2][5] == 'm' and tonumber(entry[2][4]) > now_ms then waiting = waiting + 1 end
    end
    seen = seen + #page
    if #page < 200 then break end
  end
  return waiting
end

local fields, waiting = redis.call('HGETALL', record), 0
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 2) == 'c:' then
    waiting = waiting + count(string.sub(fields[i], 3), tonumber(fields[i + 1]))
  end
end
return waiting
