-- A session ends. Does nothing when the device belongs to another session by now.
-- KEYS: clock.
-- ARGV: token, session, retention_seconds ('' on a server that is not the device's home), then per stream that
-- it followed: stream, offset, attempts, waited_us (see `remember_attempts`).
-- Returns 1, or 0 when it did nothing.
-- uses: fields, devices, sessions, part, device_events

-- What a connection that ended leaves of a stream: `offset` of its first unacknowledged message ('0' if there
-- is none), `attempts`: how many copies of it count, `waited_us` ago it was last sent or came to the front.
-- Kept as "<offset> <attempts> <since>". With '0' attempts it only waited behind others, and uses up
-- nothing. One that brought no copy that counts changes nothing either: so connections that break again and
-- again use a message up no faster than one that stays, nor slower.
local function remember_attempts(record, stream, offset, attempts, waited_us)
  local field = DEVICE_ATTEMPTS .. stream
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

local token, session, retention_seconds = ARGV[1], ARGV[2], ARGV[3]
local record = device_key(token)
local kept = redis.call('HMGET', record, DEVICE_SESSION, DEVICE_BOOT)
if kept[1] ~= session then return 0 end
end_session(record)
for i = 4, #ARGV, 4 do
  remember_attempts(record, ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]))
end
if retention_seconds == '' then
  drop_part_if_empty(record)
else
  redis.call('HSET', record, DEVICE_SEEN, str(math.floor(now / 1000)))
  keep_device(token, retention_seconds)
  device_lost_session(token, kept[2])
end
return 1
