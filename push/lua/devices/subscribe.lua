-- A device subscribes to a topic. ARGV: token, the topic's stream, '1' if it is of this server ('0' if
-- not), how many topics a device may follow, the user whose JWT allows it ('' = no JWT is needed).
-- Returns {-3}: the device is not that user's; {-2}: it follows as many as it may; {-1}: no such device;
-- else {1, session, boot id, errand, ...}, 0 instead of 1 when it follows the topic already (see
-- `holder_of`).
-- What a JWT allowed is marked by a field `j:<stream>`, and ends with that right (see binding.lua); what
-- needs no JWT stays.
local token, stream, most, user = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5]
local record = prefix .. 'device:' .. token
local fields = redis.call('HKEYS', record)
if #fields == 0 then return {-1} end
if user ~= '' and redis.call('HGET', record, 'u') ~= user then return {-3} end
local session, boot = holder_of(record)
local topics = 0
for _, name in ipairs(fields) do
  local followed = string.match(name, '^[cx]:(topic:.+)$')
  if followed == stream then
    if user == '' then redis.call('HDEL', record, 'j:' .. stream) end
    return {0, session, boot}
  end
  if followed then topics = topics + 1 end
end
if topics >= most then return {-2} end
start_following(record, token, stream, ARGV[3] == '1')
if user ~= '' then redis.call('HSET', record, 'j:' .. stream, '1') end
tell(record, token)
return {1, session, boot, unpack(errands)}
