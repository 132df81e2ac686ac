-- A session takes a device.
-- ARGV: token, session, boot id, node, retention_seconds, user to bind ('' = none), then the
-- client's cursors: stream, offset.
-- Returns {now, clock, session before, its boot id, record, streams of which something was dropped
-- unread} or {} when there is no such device. In the record that is returned, 'r:<stream>' is where
-- reading begins if not at the cursor.
local token, session = ARGV[1], ARGV[2]
local record = prefix .. 'device:' .. token
if redis.call('EXISTS', record) == 0 then return {} end
local clock = stored_clock()
local before = redis.call('HMGET', record, 's', 'b')
if ARGV[6] ~= '' then bind(record, token, ARGV[6], clock) end

-- The client's cursor is ahead: it acknowledges up to there, but not beyond what there is.
local function acknowledge(stream, cursor, position, offset)
  local to = math.min(offset, math.max(clock, cursor))
  pass(stream, token, cursor, math.max(cursor, position), to, 'a')
  redis.call('HSET', record, 'c:' .. stream, str(to))
  if stream == 'dev:' .. token then trim(stream, to) end
end

local rereads = {}
for i = 7, #ARGV, 2 do
  local stream, offset = ARGV[i], tonumber(ARGV[i + 1])
  local places = redis.call('HMGET', record, 'c:' .. stream, 'f:' .. stream, 'p:' .. stream)
  local cursor, start = tonumber(places[1] or ''), tonumber(places[2] or '')
  if cursor and offset > cursor then
    acknowledge(stream, cursor, tonumber(places[3] or '0'), offset)
  elseif cursor and offset < cursor then
    rereads[#rereads + 1] = 'r:' .. stream
    rereads[#rereads + 1] = str(math.max(offset, start or 0))
  end
end

local now_ms = math.floor(now / 1000)
redis.call('HSET', record, 's', session, 'b', ARGV[3], 'n', ARGV[4], 'seen', str(now_ms))
redis.call('ZADD', prefix .. 'devices', str(now_ms + tonumber(ARGV[5]) * 1000), token)
local fields = redis.call('HGETALL', record)
local truncated = {}
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 2) == 'c:' then
    local stream = string.sub(fields[i], 3)
    local lost = redis.call('GET', prefix .. 'lost:' .. stream)
    if lost and tonumber(lost) > tonumber(fields[i + 1]) then
      truncated[#truncated + 1] = stream
    end
  end
end
for _, item in ipairs(rereads) do fields[#fields + 1] = item end
return {str(now), str(clock), before[1], before[2], fields, truncated}
