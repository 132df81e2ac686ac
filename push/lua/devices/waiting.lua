-- How many messages wait for a device, in all streams that it follows on this server.
-- KEYS: clock.
-- ARGV: token, at most how many are counted in a stream that many follow.
-- Returns how many.
-- uses: fields, entry, log, devices
local record = device_key(ARGV[1])
local most, now_ms = tonumber(ARGV[2]), now / 1000

local function count(stream, cursor)
  local waiting, seen, after = 0, 0, cursor
  while seen < most do
    local page = redis.call('XRANGE', log_key(stream), str(after + 1), '+', 'COUNT', 200)
    for _, entry in ipairs(page) do
      local offset, _, expires_ms, field = read_entry(entry)
      after = tonumber(offset)
      if field == ENTRY_MESSAGE and expires_ms > now_ms then waiting = waiting + 1 end
    end
    seen = seen + #page
    if #page < 200 then break end
  end
  return waiting
end

local fields, waiting = redis.call('HGETALL', record), 0
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 2) == DEVICE_CURSOR then
    waiting = waiting + count(string.sub(fields[i], 3), tonumber(fields[i + 1]))
  end
end
return waiting
