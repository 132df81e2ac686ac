-- Whose a device is and what it follows, as its record at home says. A stream of another server is there as
-- DEVICE_ELSEWHERE<stream>: what is to be done on that server is an errand.
-- uses: fields, follow, unfollow, device_errands, notify

-- `begin`: the offset where following begins, by the clock of the stream's server; nil = now. It is in the
-- record, as "<version> <begin>": a session may be there before the errand is done. `user`: whose the device
-- is; see `follow_as`.
local function start_following(record, token, stream, here, begin, user)
  if here then return follow_as(record, token, stream, begin or stored_clock(), user) end
  local from = begin and str(begin) or ''
  local before = redis.call('HGET', record, DEVICE_ELSEWHERE .. stream)
  if before and (from == '' or from == string.match(before, '%d*$')) then return false end
  local version = send_errand('follow', token, stream, from, user)
  redis.call('HSET', record, DEVICE_ELSEWHERE .. stream, version .. ' ' .. from)
  return true
end

-- The offset where following began, by the clock of the stream's server; 0 where this server does not know it.
local function followed_since(record, stream)
  local kept = redis.call('HMGET', record, DEVICE_ELSEWHERE .. stream, DEVICE_START .. stream)
  return tonumber(kept[1] and string.match(kept[1], '%d*$') or kept[2] or '') or 0
end

local function stop_following(record, token, stream, code)
  redis.call('HDEL', record, DEVICE_BY_JWT .. stream)
  if redis.call('HDEL', record, DEVICE_ELSEWHERE .. stream) == 1 then
    send_errand('unfollow', token, stream, code)
  elseif not unfollow(record, token, stream, code) then
    return false
  end
  ended[#ended + 1] = stream
  return true
end
