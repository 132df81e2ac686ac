-- Begin a message that is handed out without a stream: its record in the ledger, and its id.
-- KEYS: clock, idempotency key (the clock again where there is none).
-- ARGV: id, digest ('' where there is no key), `to`.
-- Returns {id, answer}: with a key that came before, the id of then, and the answer of then if there
-- was one; or {'mismatch'} for another request.
-- uses: fields, ledger, idempotency
local id, digest, to = ARGV[1], ARGV[2], ARGV[3]
if digest ~= '' then
  local kept = redis.call('HMGET', KEYS[2], 'digest', 'id', 'answer')
  if kept[1] and kept[1] ~= digest then return { 'mismatch' } end
  if kept[3] then return { kept[2], kept[3] } end
  id = kept[2] or id
  redis.call('HSET', KEYS[2], 'digest', digest, 'id', id)
  redis.call('EXPIRE', KEYS[2], IDEMPOTENCY_KEY_SECONDS)
end
local key, now_ms = message_key(id), str(clock_ms())
if redis.call('EXISTS', key) == 0 then
  redis.call('HSET', key, LEDGER_TIME, now_ms, LEDGER_EXPIRES, now_ms, LEDGER_OFFSET, '0')
  redis.call('HSET', key, LEDGER_TO, to, LEDGER_ADDRESSED, '0')
  redis.call('EXPIRE', key, DAY_SECONDS)
end
return { id, '' }
