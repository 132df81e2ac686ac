-- Announcing on the channel of a stream what is in its log, or what is in no log.

local function channel_of(stream) return channels .. 'live:' .. stream end

-- Returns how many connectors got it. `offset` 0: it is not in the log. `removes`: the offset of an entry
-- that was removed, '0' for none; '-<offset>': all up to there were dropped. `field`: as of an entry, and on
-- channels only: 'o', for those who are online; ENTRY_TYPING, not for the sessions of its user; ENTRY_REMOVAL,
-- nothing else. `trace`: the traceparent of the publishing, nil for none.
local function announce(channel, previous, offset, ttl_seconds, id, field, body, removes, trace)
  local ts_ms = math.floor(now / 1000)
  local expires_ms = str(ts_ms + ttl_seconds * 1000)
  local times = str(offset) .. ' ' .. str(ts_ms) .. ' ' .. expires_ms
  if trace then removes = removes .. ' ' .. trace end
  local line = previous .. ' ' .. times .. ' ' .. field .. ' ' .. id .. ' ' .. removes .. '\n' .. body
  return redis.call('PUBLISH', channel, line)
end
