-- A message was handed out without a stream. KEYS: clock, idempotency key (the clock again where there
-- is none). ARGV: id, for how many devices it was, answer to keep ('' where there is no key).
local key = message_key(ARGV[1])
local before = tonumber(redis.call('HGET', key, 'n') or '0')
-- A second try may have found some of the nodes of the first silent.
redis.call('HSET', key, 'n', str(math.max(before, tonumber(ARGV[2]))))
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], 'answer', ARGV[3]) end
return 1
