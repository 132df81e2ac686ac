-- Delete a device and all that waits for it. KEYS: clock, record, the device's own log.
-- ARGV: token, prefix of the keys of users. Returns nil, or {session, boot id} ('' where none).
if redis.call('EXISTS', KEYS[2]) == 0 then return false end
local kept = redis.call('HMGET', KEYS[2], 'u', 's', 'b')
if kept[1] then redis.call('SREM', ARGV[2] .. kept[1], ARGV[1]) end
redis.call('DEL', KEYS[2], KEYS[3])
return {kept[2] or '', kept[3] or ''}
