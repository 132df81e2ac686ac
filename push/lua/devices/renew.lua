-- A session of a device has a new JWT: of the topics that one before allowed, those end that it does not
-- allow. ARGV: token, user it must be bound to, the streams of the topics that are allowed.
-- Returns {0}: nothing to change; {1, errand, ...}: changed.
local token, allowed = ARGV[1], {}
local record = prefix .. 'device:' .. token
if redis.call('HGET', record, 'u') ~= ARGV[2] then return {0} end
for i = 3, #ARGV do allowed[ARGV[i]] = true end
if not stop_topics_of_jwt(record, token, allowed) then return {0} end
tell(record, token)
return {1, unpack(errands)}
