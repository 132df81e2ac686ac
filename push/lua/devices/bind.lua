-- Bind a device to a user, or unbind it.
-- ARGV: token, user ('' = unbind), user it must be bound to now ('' = any), place of the user's stream
-- (see binding.lua).
-- Returns {-1}: no such device; else {1, session, boot id, errand, ...} when it changed, 0 instead of 1
-- when there was nothing to change (see `holder_of`).
local token, user = ARGV[1], ARGV[2]
local record = prefix .. 'device:' .. token
if redis.call('EXISTS', record) == 0 then return {-1} end
local session, boot = holder_of(record)
if ARGV[3] ~= '' and redis.call('HGET', record, 'u') ~= ARGV[3] then return {0, session, boot} end
if not bind(record, token, user, ARGV[4]) then return {0, session, boot} end
tell(record, token)
return {1, session, boot, unpack(errands)}
