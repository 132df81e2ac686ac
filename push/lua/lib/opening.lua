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

-- What a connection that ended leaves of a stream: `offset` of its first unacknowledged message ('0' if there
-- is none), `attempts`: how many copies of it count, `waited_us` ago it was last sent or came to the front.
-- Kept as "<offset> <attempts> <since>". With '0' attempts it only waited behind others, and uses up
-- nothing. One that brought no copy that counts changes nothing either: so connections that break again and
-- again use a message up no faster than one that stays, nor slower.
local function remember_attempts(record, stream, offset, attempts, waited_us)
  local field = 't:' .. stream
  local before = redis.call('HGET', record, field) or ''
  local kept_offset, kept_attempts = string.match(before, '^(%d+) (%d+)')
  if kept_offset ~= offset then kept_attempts = nil end
  if attempts == '0' then
    attempts, waited_us = kept_attempts, 0
  elseif attempts == kept_attempts then
    return
  end
  if attempts then
    redis.call('HSET', record, field, offset .. ' ' .. attempts .. ' ' .. str(now - waited_us))
  else
    redis.call('HDEL', record, field)
  end
end
