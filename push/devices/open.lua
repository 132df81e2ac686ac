-- A session takes a device. KEYS: clock, record, the device's own log.
-- ARGV: token, session, boot id, node, retention_seconds, user to bind ('' = none), prefix of
-- the keys of users, then the client's cursors: stream, offset.
-- Returns {now, clock, session before, its boot id, record} or {} when there is no such device. In
-- the record that is returned, 'r:<stream>' is where reading begins if not at the cursor.
if redis.call('EXISTS', KEYS[2]) == 0 then return {} end
local record, token, session = KEYS[2], ARGV[1], ARGV[2]
local clock = stored_clock()
local before = redis.call('HMGET', record, 's', 'b')
if ARGV[6] ~= '' then bind(record, token, ARGV[6], ARGV[7], clock) end

local rereads = {}
for i = 8, #ARGV, 2 do
  local stream, offset = ARGV[i], tonumber(ARGV[i + 1])
  local places = redis.call('HMGET', record, 'c:' .. stream, 'f:' .. stream)
  local cursor, start = tonumber(places[1] or ''), tonumber(places[2] or '')
  if cursor and offset > cursor then
    redis.call('HSET', record, 'c:' .. stream, str(math.min(offset, math.max(clock, cursor))))
    if stream == 'dev:' .. token then
      redis.call('XTRIM', KEYS[3], 'MINID', str(math.min(offset, clock) + 1))
      if redis.call('XLEN', KEYS[3]) == 0 then redis.call('DEL', KEYS[3]) end
    end
  elseif cursor and offset < cursor then
    rereads[#rereads + 1] = 'r:' .. stream
    rereads[#rereads + 1] = str(math.max(offset, start or 0))
  end
end

redis.call('HSET', record, 's', session, 'b', ARGV[3], 'n', ARGV[4],
  'seen', str(math.floor(now / 1000)))
redis.call('EXPIRE', record, ARGV[5])
local fields = redis.call('HGETALL', record)
for _, item in ipairs(rereads) do fields[#fields + 1] = item end
return {str(now), str(clock), before[1], before[2], fields}
