-- Appending to a log. The form of an entry: see entry.lua.
-- uses: log

local function last_offset_of(log)
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', '1')
  return last[1] and string.match(last[1][1], '^%d+') or '0'
end

-- Append at `offset`; returns the offset before it, '0' where there is none. The sweeper comes for
-- the stream when the first of its entries expires.
local function append(stream, offset, ttl_seconds, id, field, body, collapse)
  local log, at = log_key(stream), str(offset) .. '-0'
  local previous = last_offset_of(log)
  local expires_ms = str(math.floor(offset / 1000) + ttl_seconds * 1000)
  if collapse then
    redis.call('XADD', log, at, 'i', id, 'x', expires_ms, field, body, 'k', collapse)
  else
    redis.call('XADD', log, at, 'i', id, 'x', expires_ms, field, body)
  end
  redis.call('ZADD', EXPIRY_KEY, 'LT', expires_ms, stream)
  return previous
end
