-- Keep what the ids of events stand for, beside the devices' records; what is kept is kept on.
-- KEYS: clock.
-- ARGV: devices as msgpack, how many events are kept for each, for how many seconds.
-- A device is {token, {"<id> <stream> <offset>", ...}}; its list may be empty.
-- Returns nothing.
-- uses: devices, event_positions
local most, seconds = tonumber(ARGV[2]), ARGV[3]

for _, device in ipairs(cmsgpack.unpack(ARGV[1])) do
  local token, events = device[1], device[2]
  if redis.call('EXISTS', device_key(token)) == 1 then
    local key = event_positions_key(token)
    for i, event in ipairs(events) do
      redis.call('ZADD', key, str(now + i), event)
    end
    if #events > 0 then redis.call('ZREMRANGEBYRANK', key, '0', str(-most - 1)) end
    redis.call('EXPIRE', key, seconds)
  end
end
