-- Sessions end. Does nothing for one whose device belongs to another session by now.
-- KEYS: clock.
-- ARGV: retention_seconds, then each session as msgpack (`ClosingItem` in push/devices/session_ending.py).
-- Returns for each {1}, or {0} when nothing was done (see lib/joined.lua).
-- uses: packed, joined, fields, devices, sessions, part, device_events

-- What a connection that ended leaves of a stream: `offset` of its first unacknowledged message ('0' if there
-- is none), `attempts`: how many copies of it count, `waited_us` ago it was last sent or came to the front.
-- Kept as "<offset> <attempts> <since>". With '0' attempts it only waited behind others, and uses up
-- nothing. One that brought no copy that counts changes nothing either: so connections that break again and
-- again use a message up no faster than one that stays, nor slower.
local function remember_attempts(record, stream, offset, attempts, waited_us)
  local field = DEVICE_ATTEMPTS .. stream
  local before = redis.call('HGET', record, field)
  if not before and attempts == '0' then return end
  local kept_offset, kept_attempts = string.match(before or '', '^(%d+) (%d+)')
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

local function close(item)
  local record, left = device_key(item.token), item.left
  local kept = redis.call('HMGET', record, DEVICE_SESSION, DEVICE_BOOT)
  if kept[1] ~= item.session then return { 0 } end
  end_session(record)
  for i = 1, #left, 4 do
    remember_attempts(record, left[i], left[i + 1], left[i + 2], tonumber(left[i + 3]))
  end
  if item.is_home then
    redis.call('HSET', record, DEVICE_SEEN, str(clock_ms()))
    keep_device(item.token, ARGV[1])
    device_lost_session(item.token, kept[2])
  else
    drop_part_if_empty(record)
  end
  return { 1 }
end

return packed(replies_of(2, close))
