-- Appending to a stream and announcing it: the one place that knows their form.
-- An entry is {id, expiry in ms, field, body}; `field` is 'm' for a message, 'c' for the connector.

-- Append at `offset`; returns the offset before it, '0' where there is none.
local function append(log, offset, ttl_seconds, max_age_us, id, field, body)
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
  local previous = last[1] and string.match(last[1][1], '^%d+') or '0'
  local expires_ms = math.floor(offset / 1000) + ttl_seconds * 1000
  redis.call('XADD', log, 'MINID', '~', str(offset - max_age_us), str(offset) .. '-0',
    'i', id, 'x', str(expires_ms), field, body)
  -- The key goes when its last entry has expired, if nobody touches it before.
  local left_ms = redis.call('PTTL', log)
  local wanted_ms = ttl_seconds * 1000 + 60000
  if last[1] == nil or (left_ms >= 0 and left_ms < wanted_ms) then
    redis.call('PEXPIRE', log, str(wanted_ms))
  end
  return previous
end

-- Announce; returns how many connectors heard it. `offset` 0: it is not in the log.
local function announce(channel, previous, offset, now, ttl_seconds, id, field, body)
  local ts_ms = math.floor(now / 1000)
  local head = table.concat({previous, str(offset), str(ts_ms),
    str(ts_ms + ttl_seconds * 1000), field, id}, ' ')
  return redis.call('PUBLISH', channel, head .. '\n' .. body)
end
