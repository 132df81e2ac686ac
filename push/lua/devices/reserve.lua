-- Begin a message that is handed out without a stream: its record in the ledger, and its id.
-- KEYS: clock, idempotency key (the clock again where there is none). ARGV: id, digest ('' where there
-- is no key), `to`.
-- Returns {id, answer}: with a key that came before, the id of then, and the answer of then if there
-- was one; or {'mismatch'} for another request.
local id = ARGV[1]
if ARGV[2] ~= '' then
  local kept = redis.call('HMGET', KEYS[2], 'digest', 'id', 'answer')
  if kept[1] and kept[1] ~= ARGV[2] then return {'mismatch'} end
  if kept[3] then return {kept[2], kept[3]} end
  id = kept[2] or id
  redis.call('HSET', KEYS[2], 'digest', ARGV[2], 'id', id)
  redis.call('EXPIRE', KEYS[2], 86400)
end
local key = message_key(id)
local now_ms = str(math.floor(now / 1000))
if redis.call('EXISTS', key) == 0 then
  redis.call('HSET', key, 'ts', now_ms, 'x', now_ms, 'o', '0', 'to', ARGV[3], 'n', '0')
  redis.call('EXPIRE', key, 86400)
end
return {id, ''}
