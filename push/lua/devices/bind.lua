-- Bind a device to a user, or unbind it.
-- KEYS: clock.
-- ARGV: token, user ('' = unbind), user it must be bound to now ('' = any), place of the user's stream
-- (see lib/bind.lua).
-- Returns {-1}: no such device; {0, session, boot id}: there was nothing to change; else {1, session, boot id,
-- offset of the notice, errand, ...} (see `holder_of` and `notify_device`).
-- uses: devices, record, device_errands, bind, notify
local token, user, expected, place = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local record = device_key(token)
if redis.call('EXISTS', record) == 0 then return { -1 } end
local session, boot = holder_of(record)
if expected ~= '' and user_of(record) ~= expected then return { 0, session, boot } end
if not bind(record, token, user, place) then return { 0, session, boot } end
return { 1, session, boot, notify_device(record, token), unpack(errands) }
