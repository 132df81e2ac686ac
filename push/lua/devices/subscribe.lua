-- A device subscribes to a topic. ARGV: token, the topic's stream, '1' if it is of this server ('0' if
-- not), how many topics a device may follow.
-- Returns {-2}: it follows as many as it may; {-1}: no such device; {0}: it follows the topic already;
-- {1, errand, ...}: subscribed.
local token, stream, most = ARGV[1], ARGV[2], tonumber(ARGV[4])
local record = prefix .. 'device:' .. token
local fields = redis.call('HKEYS', record)
if #fields == 0 then return {-1} end
local topics = 0
for _, name in ipairs(fields) do
  local followed = string.match(name, '^[cx]:(topic:.+)$')
  if followed == stream then return {0} end
  if followed then topics = topics + 1 end
end
if topics >= most then return {-2} end
start_following(record, token, stream, ARGV[3] == '1')
tell(record, token)
return {1, unpack(errands)}
