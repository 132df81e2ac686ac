-- A session takes a device, at its home.
-- KEYS: clock.
-- ARGV: token, session, boot id, node, retention_seconds, user to bind ('' = none), place of that user's
-- stream (see lib/bind.lua), '1' if there are other servers, the streams of the topics that its JWT allows
-- (by spaces; '-' = there is no JWT), how often the device had been taken then when it is told to another
-- master, '' the first time; then the client's cursors: stream, offset.
-- Returns {now, session before, its boot id, record, streams of which something was dropped unread,
-- errands} or {} when there is no such device, or when it is told again and this or a later session has it. In
-- the record that is returned, DEVICE_REREAD<stream> is where reading begins if not at the cursor.
-- uses: fields, devices, device_errands, bind, jwt_topics, check_groups, opening, device_events
local token, session, boot, node, retention_seconds = unpack(ARGV, 1, 5)
local user, place, several, topics, told_epoch = unpack(ARGV, 6, 10)
local record = device_key(token)
if redis.call('EXISTS', record) == 0 then return {} end
if told_epoch ~= '' and tonumber(redis.call('HGET', record, DEVICE_EPOCH) or '0') >= tonumber(told_epoch) then
  return {}
end
local before = redis.call('HMGET', record, DEVICE_SESSION, DEVICE_BOOT)
if user ~= '' then bind(record, token, user, place) end
if topics ~= '-' then
  local allowed = {}
  for stream in string.gmatch(topics, '%S+') do
    allowed[stream] = true
  end
  stop_topics_of_jwt(record, token, allowed)
end
if several == '1' then check_groups(record, token) end
local rereads = apply_client_cursors(record, token, 11)

local seen = str(math.floor(now / 1000))
redis.call('HSET', record, DEVICE_SESSION, session, DEVICE_BOOT, boot, DEVICE_NODE, node, DEVICE_SEEN, seen)
redis.call('HINCRBY', record, DEVICE_EPOCH, 1)
keep_device(token, retention_seconds)
device_came_online(record, token, boot, before[2])
local fields = redis.call('HGETALL', record)
local truncated = truncated_of(fields)
for _, item in ipairs(rereads) do
  fields[#fields + 1] = item
end
return { str(now), before[1], before[2], fields, truncated, errands }
