-- A device subscribes to a topic. What a JWT allowed is marked in the record, and ends with that right (see
-- jwt_topics.lua); what needs no JWT stays.
-- KEYS: clock.
-- ARGV: token, the topic's stream, '1' if it is of this server ('0' if not), how many topics a device may
-- follow, the user whose JWT allows it ('' = no JWT is needed).
-- Returns {-3}: the device is not that user's; {-2}: it follows as many as it may; {-1}: no such device;
-- {0, session, boot id}: it follows the topic already; else {1, session, boot id, offset of the notice, errand,
-- ...} (see `holder_of` and `notify_device`).
-- uses: fields, devices, record, device_errands, binding, notify
local token, stream, here, most, user = ARGV[1], ARGV[2], ARGV[3] == '1', tonumber(ARGV[4]), ARGV[5]
local record = device_key(token)
if redis.call('EXISTS', record) == 0 then return { -1 } end
if user ~= '' and user_of(record) ~= user then return { -3 } end
local session, boot = holder_of(record)
local followed = redis.call('HMGET', record, DEVICE_CURSOR .. stream, DEVICE_ELSEWHERE .. stream)
if followed[1] or followed[2] then
  if user == '' then redis.call('HDEL', record, DEVICE_BY_JWT .. stream) end
  return { 0, session, boot }
end
local topics = 0
if redis.call('HLEN', record) >= most then -- else there are fewer, and nobody needs to count them
  for _, name in ipairs(redis.call('HKEYS', record)) do
    local other = followed_stream(name)
    if other and string.sub(other, 1, 6) == 'topic:' then topics = topics + 1 end
  end
end
if topics >= most then return { -2 } end
start_following(record, token, stream, here)
if user ~= '' then redis.call('HSET', record, DEVICE_BY_JWT .. stream, '1') end
return { 1, session, boot, notify_device(record, token), unpack(errands) }
