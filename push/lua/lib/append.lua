-- Appending to a log. The form of an entry: see entry.lua.
-- uses: log

-- Append at `offset` (as text); returns the offset before it, '0' where there is none. The sweeper comes for
-- the stream when the first of its entries expires.
local function append(stream, offset, ttl_seconds, id, field, content, collapse)
  local log = log_key(stream)
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', '1')[1]
  local expires_ms = str(clock_ms() + ttl_seconds * 1000)
  if collapse then
    redis.call('XADD', log, offset, 'i', id, 'x', expires_ms, field, content, 'k', collapse)
  else
    redis.call('XADD', log, offset, 'i', id, 'x', expires_ms, field, content)
  end
  redis.call('ZADD', EXPIRY_KEY, 'LT', expires_ms, stream)
  return last and string.match(last[1], '^%d+') or '0'
end
