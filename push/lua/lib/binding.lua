-- Whose a device is and what it follows, as its record at home says. A stream of another server stands
-- there as `x:<stream>`: what is to be done on that server is an errand.
local errands = {}
-- Streams that this call has ended following.
local ended = {}

-- An errand is done at once by the caller, and else by whoever finds it later (rule 13). It carries a
-- version of this server's clock: what is older than what was done already does nothing.
local function send_errand(verb, token, stream, detail, user)
  local version = str(next_offset())
  local text = table.concat({verb, token, stream, version, detail or '', user or ''}, ' ')
  redis.call('ZADD', prefix .. 'errands', str(math.floor(now / 1000)), text)
  errands[#errands + 1] = text
  return version
end

-- `begin`: the offset where following begins, by the clock of the stream's server; nil = now. It stands
-- in the record, as "<version> <begin>": a session may be there before the errand is done. `user`: whose
-- the device is; see `follow_as`.
local function start_following(record, token, stream, here, begin, user)
  if here then return follow_as(record, token, stream, begin or stored_clock(), user) end
  local from = begin and str(begin) or ''
  local before = redis.call('HGET', record, 'x:' .. stream)
  if before and (from == '' or from == string.match(before, '%d*$')) then return false end
  local version = send_errand('follow', token, stream, from, user)
  redis.call('HSET', record, 'x:' .. stream, version .. ' ' .. from)
  return true
end

local function stop_following(record, token, stream, code)
  redis.call('HDEL', record, 'j:' .. stream)
  if redis.call('HDEL', record, 'x:' .. stream) == 1 then
    send_errand('unfollow', token, stream, code)
  elseif not unfollow(record, token, stream, code) then
    return false
  end
  ended[#ended + 1] = stream
  return true
end

-- Topics that a JWT allowed (`j:<stream>`) end, unless they are among `allowed` (nil: none is). Returns
-- whether there were such.
local function stop_topics_of_jwt(record, token, allowed)
  local changed = false
  for _, name in ipairs(redis.call('HKEYS', record)) do
    local stream = string.match(name, '^j:(.+)$')
    if stream and not (allowed and allowed[stream]) then
      changed = stop_following(record, token, stream, 'd:unsubscribed') or changed
    end
  end
  return changed
end

-- The session that has the device, and the boot id of its connector: whoever changes the record waits
-- until that connector applies it. '' where there is none.
local function holder_of(record)
  local kept = redis.call('HMGET', record, 's', 'b')
  return kept[1] or '', kept[2] or ''
end

-- The device is this user's, '' = nobody's. `place`: 'alone' when there is one server only, 'here' when
-- the user's stream is of this one. Returns false when nothing changed.
local function bind(record, token, user, place)
  local before = redis.call('HGET', record, 'u') or ''
  if before == user then return false end
  if before ~= '' then
    for _, name in ipairs(redis.call('HKEYS', record)) do
      local stream = string.match(name, '^[cx]:(.+)$')
      if stream == 'user:' .. before or stream and string.sub(stream, 1, 6) == 'group:' then
        stop_following(record, token, stream, 'd:unbound')
      end
    end
    stop_topics_of_jwt(record, token)
    redis.call('HDEL', record, 'u')
  end
  if user == '' then return true end
  redis.call('HSET', record, 'u', user)
  start_following(record, token, 'user:' .. user, place ~= 'away')
  if place ~= 'alone' then
    send_errand('enlist', token, 'user:' .. user)
    return true
  end
  for _, stream in ipairs(redis.call('SMEMBERS', prefix .. 'user-streams:' .. user)) do
    follow_as(record, token, stream, stored_clock(), user)
  end
  return true
end

-- A device with a session is told by an entry of its own log, so that no change is missed however the
-- connection fares (rule 5). It names what ended: nothing that is published later is handed out.
local function tell(record, token)
  local kept = redis.call('HMGET', record, 's', 'u')
  if not kept[1] then return end
  local offset, day, stream = next_offset(), 86400, 'dev:' .. token
  local change = {op = 'changed', user = kept[2] or '', ended = table.concat(ended, ' ')}
  local id, body = 'c' .. str(offset), cjson.encode(change)
  local previous = append(stream, offset, day, id, 'c', body)
  announce(channels .. 'live:' .. stream, previous, offset, day, id, 'c', body)
end
