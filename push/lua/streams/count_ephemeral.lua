-- Count what became of messages that are in no log.
-- KEYS: clock.
-- ARGV: as msgpack a list of {id, token ('' where the message has counters), code (LEDGER_WRITTEN,
-- ACKNOWLEDGED or DROPPED<reason>), count, stream}.
-- Returns 1.
-- uses: fields, ledger, outcomes, counters

-- A session that a connector reached is counted, also if its device is not among those that the message was
-- for when it was published: it was for it, too.
local function address_reached(id, token, stream)
  local key, field = message_key(id), LEDGER_LINE .. token
  if redis.call('HGET', key, LEDGER_OFFSET) ~= '0' or redis.call('HEXISTS', key, field) == 1 then return end
  redis.call('HSET', key, field, WAITING .. '0 ' .. str(clock_ms()) .. ' ')
  local user = string.match(stream, '^user:(.+)$')
  if user then
    local tokens = redis.call('HGET', key, LEDGER_TOKENS .. user)
    redis.call('HSET', key, LEDGER_TOKENS .. user, tokens and tokens .. ' ' .. token or token)
  end
end

for _, item in ipairs(cmsgpack.unpack(ARGV[1])) do
  local id, token, code, count, stream = unpack(item)
  if token ~= '' then address_reached(id, token, stream) end
  local written = code == LEDGER_WRITTEN
  if token ~= '' and written then
    note_written(id, token)
  elseif token ~= '' then
    record_outcome(stream, id, token, code, code == ACKNOWLEDGED)
  elseif written then
    count_written(id, count)
  else
    count_outcome(id, code, count)
  end
end
return 1
