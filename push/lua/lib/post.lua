-- Writing a message into a stream: its log and its channel.
-- uses: fields, entry, log, append, channel, remove_entry

-- Drop the oldest entries of a log that is longer than `max`. A part at a time: after `max` was lowered they
-- may be many. Returns the last offset that was dropped, nil for none.
local function trim_to(stream, max, code)
  local log = log_key(stream)
  local over, dropped = redis.call('XLEN', log) - max, nil
  while over > 0 do
    local part = math.min(over, 100)
    for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', part)) do
      remove_entry(stream, entry, code)
      dropped = entry_offset(entry)
    end
    over = over - part
  end
  return dropped
end

-- A newer message with the same key takes the place of the one before. Returns the offset of that.
local function replace(stream, collapse, offset)
  local key = collapse_key(stream)
  local before = redis.call('HGET', key, collapse)
  redis.call('HSET', key, collapse, offset)
  local entry = before and redis.call('XRANGE', log_key(stream), before, before)[1]
  if not entry then return '0' end
  remove_entry(stream, entry, DROPPED_COLLAPSED)
  return before
end

-- Into the log, at `offset` (as text), and on the channel. `keep`: how many entries the log of a device
-- (`max_backlog`), or one that many follow (`max_shared`), may have; `keep.trace`: see channel.lua. Returns how
-- many connectors got it.
local function post(stream, offset, ttl, id, field, content, keep, collapse)
  local removes = collapse and replace(stream, collapse, offset) or '0'
  local previous = append(stream, offset, ttl, id, field, content, collapse)
  if previous ~= '0' then
    local max, code = keep.max_shared, DROPPED_RETENTION
    if string.sub(stream, 1, 4) == 'dev:' then
      max, code = keep.max_backlog, DROPPED_BACKLOG
    end
    local dropped = trim_to(stream, max, code)
    if dropped then removes = '-' .. dropped end
  end
  return announce(stream, previous, offset, ttl, id, field, content, removes, keep.trace)
end
