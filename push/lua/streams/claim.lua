-- Which message an idempotency key stands for, when its parts are on several servers.
-- KEYS: clock, key.
-- ARGV: id, digest of the request.
-- Returns the id that came with the key first, or 'mismatch' when that was another request.
-- uses: idempotency
local id, digest = ARGV[1], ARGV[2]
local kept = redis.call('HMGET', KEYS[2], 'digest', 'id')
if kept[1] and kept[1] ~= digest then return 'mismatch' end
if kept[1] then return kept[2] end
redis.call('HSET', KEYS[2], 'digest', digest, 'id', id)
redis.call('EXPIRE', KEYS[2], IDEMPOTENCY_KEY_SECONDS)
return id
