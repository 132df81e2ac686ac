-- A message was handed out without a stream.
-- KEYS: clock, idempotency key (the clock again where there is none).
-- ARGV: id, for how many devices it was, answer to keep ('' where there is no key).
-- Returns 1.
-- uses: fields, ledger
local id, devices, answer = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local before = tonumber(redis.call('HGET', message_key(id), LEDGER_ADDRESSED) or '0')
-- A second try may have found some of the nodes of the first silent.
redis.call('HSET', message_key(id), LEDGER_ADDRESSED, str(math.max(before, devices)))
if answer ~= '' then redis.call('HSET', KEYS[2], 'answer', answer) end
return 1
