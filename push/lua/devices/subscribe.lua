-- A device subscribes to a topic. What a JWT allowed is marked in the record, and ends with that right (see
-- jwt_topics.lua); what needs no JWT stays.
-- KEYS: clock.
-- ARGV: token, the topic's stream, '1' if it is of this server ('0' if not), how many topics a device may
-- follow, the user whose JWT allows it ('' = no JWT is needed).
-- Returns {-3}: the device is not that user's; {-2}: it follows as many as it may; {-1}: no such device;
-- else {1, session, boot id, errand, ...}, 0 instead of 1 when it follows the topic already (see
-- `holder_of`).
-- uses: fields, devices, record, device_errands, binding, notify
local token, stream, here, most, user = ARGV[1], ARGV[2], ARGV[3] == '1', tonumber(ARGV[4]), ARGV[5]
local record = device_key(token)
local fields = redis.call('HKEYS', record)
if #fields == 0 then return { -1 } end
if user ~= '' and user_of(record) ~= user then return { -3 } end
local session, boot = holder_of(record)
local topics = 0
for _, name in ipairs(fields) do
  local followed = followed_stream(name)
  if followed == stream then
    if user == '' then redis.call('HDEL', record, DEVICE_BY_JWT .. stream) end
    return { 0, session, boot }
  end
  if followed and string.sub(followed, 1, 6) == 'topic:' then topics = topics + 1 end
end
if topics >= most then return { -2 } end
start_following(record, token, stream, here)
if user ~= '' then redis.call('HSET', record, DEVICE_BY_JWT .. stream, '1') end
notify_device(record, token)
return { 1, session, boot, unpack(errands) }
