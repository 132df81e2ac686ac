-- A session takes the part of a device's record that is here.
-- KEYS: clock.
-- ARGV: token, session, how often the device was taken at its home, whose it is, how many streams, then per
-- stream: stream, version, where following begins ('' = now); then the client's cursors: stream, offset.
-- Returns {now, fields, streams of which something was dropped unread}, {} when a later session has it.
-- uses: fields, devices, part, follow_version, opening
local token, session, epoch, user, streams = unpack(ARGV, 1, 5)
local record = device_key(token)
if tonumber(redis.call('HGET', record, DEVICE_EPOCH) or '0') > tonumber(epoch) then return {} end
local first = 6 + 3 * tonumber(streams)
for i = 6, first - 1, 3 do
  follow_version(record, token, ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), user)
end
redis.call('HSET', record, DEVICE_SESSION, session, DEVICE_EPOCH, epoch)
let_part_expire_if_empty(record)
local fields = ARGV[first] and apply_client_cursors(record, token, ARGV, first) or {}
local truncated = add_followed(record, fields)
return { str(now), fields, truncated }
