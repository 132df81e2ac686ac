-- Where a session begins to read in the streams of this server.

-- The client's cursors, from ARGV[first] on as stream, offset. One that is ahead acknowledges up to
-- there, but not beyond what there is. Returns fields 'r:<stream>' for those that are behind: reading
-- begins there.
local function apply_client_cursors(record, token, first)
  local clock, rereads = stored_clock(), {}
  for i = first, #ARGV, 2 do
    local stream, offset = ARGV[i], tonumber(ARGV[i + 1])
    local places = redis.call('HMGET', record, 'c:' .. stream, 'f:' .. stream, 'p:' .. stream)
    local cursor, start = tonumber(places[1] or ''), tonumber(places[2] or '')
    if cursor and offset > cursor then
      local to = math.min(offset, math.max(clock, cursor))
      local position = math.max(cursor, tonumber(places[3] or '0'))
      pass(stream, token, cursor, position, to, 'a')
      redis.call('HSET', record, 'c:' .. stream, str(to))
      if stream == 'dev:' .. token then trim(stream, to) end
    elseif cursor and offset < cursor then
      rereads[#rereads + 1] = 'r:' .. stream
      rereads[#rereads + 1] = str(math.max(offset, start or 0))
    end
  end
  return rereads
end

-- Streams of which something was dropped that the device had not read.
local function truncated_of(fields)
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
  return truncated
end

-- What is remembered of a first message that was handed out in vain: "<offset> <attempts>", '' if none
-- was. An attempt counts only `pause_us` after the one before: a device whose connections break again
-- and again has not refused a message.
local function remember_attempts(record, stream, tried, pause_us)
  local field = 't:' .. stream
  if tried == '' then
    redis.call('HDEL', record, field)
    return
  end
  local before = redis.call('HGET', record, field) or ''
  local offset, counted_at = string.match(before, '^(%d+) %d+ (%d+)$')
  if offset ~= string.match(tried, '^%d+') or now - tonumber(counted_at) >= pause_us then
    redis.call('HSET', record, field, tried .. ' ' .. str(now))
  end
end
