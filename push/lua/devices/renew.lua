-- A session of a device has a new JWT: of the topics that one before allowed, those end that it does not
-- allow.
-- KEYS: clock.
-- ARGV: token, user it must be bound to, the streams of the topics that are allowed.
-- Returns {0}: nothing to change; {1, errand, ...}: changed.
-- uses: devices, record, device_errands, jwt_topics, notify
local token, user, allowed = ARGV[1], ARGV[2], {}
local record = device_key(token)
if user_of(record) ~= user then return { 0 } end
for i = 3, #ARGV do
  allowed[ARGV[i]] = true
end
if not stop_topics_of_jwt(record, token, allowed) then return { 0 } end
notify_device(record, token)
return { 1, unpack(errands) }
