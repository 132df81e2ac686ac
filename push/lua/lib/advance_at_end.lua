-- A device ceases to follow a stream.
-- uses: fields, advance, ended
local LAST_WORDS_SECONDS = 600

-- As `advance_past`; what the session says of it later counts.
local function advance_at_end(record, stream, token, cursor, position, to, code)
  if advance_past(stream, token, cursor, position, to, code) == 0 then return end
  local session = redis.call('HGET', record, DEVICE_SESSION)
  if not session then return end
  local key = ended_key(token)
  local before = redis.call('HGET', key, stream) or ''
  local item = { session, str(cursor), str(math.max(cursor, position)), str(to), code }
  redis.call('HSET', key, stream, before .. table.concat(item, ' ') .. ',')
  redis.call('EXPIRE', key, LAST_WORDS_SECONDS)
end
