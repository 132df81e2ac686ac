-- Announcing on the channel of a stream what is in its log, or what is in no log.

-- Returns how many connectors got it. `offset` '0': it is not in the log. `removes`: the offset of an entry
-- that was removed, '0' for none; '-<offset>': all up to there were dropped. `field`: as of an entry, and on
-- channels only: 'o', for those who are online; ENTRY_TYPING, not for the sessions of its user; ENTRY_REMOVAL,
-- nothing else. `trace`: the traceparent of the publishing, nil for none.
local function announce(stream, previous, offset, ttl_seconds, id, field, content, removes, trace)
  local ts_ms = clock_ms()
  local expires_ms = str(ts_ms + ttl_seconds * 1000)
  if trace then removes = removes .. ' ' .. trace end
  -- stylua: ignore
  local line = previous .. ' ' .. offset .. ' ' .. str(ts_ms) .. ' ' .. expires_ms .. ' ' .. field .. ' ' .. id
    .. ' ' .. removes .. '\n' .. content
  return redis.call('PUBLISH', channels .. 'live:' .. stream, line)
end
