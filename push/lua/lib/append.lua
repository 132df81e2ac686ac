-- Appending to a stream, announcing it, and taking entries out again: the one place that knows their
-- form. An entry is {i, id, x, expiry in ms, field, body} and, with a collapse key, {k, key}; field
-- is 'm' for a message, 'c' for the connector. (On channels only: 'o', for who is online; 't', not for
-- the sessions of its user; 'x', nothing but a removal.)

local function last_offset_of(log)
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
  return last[1] and string.match(last[1][1], '^%d+') or '0'
end

-- Nothing waits in a log any more: nothing of it stays.
local function delete_if_empty(stream)
  local log = prefix .. 'log:' .. stream
  if redis.call('XLEN', log) > 0 then return false end
  redis.call('DEL', log, prefix .. 'collapse:' .. stream)
  redis.call('ZREM', prefix .. 'expiry', stream)
  return true
end

-- A device is done with its own log up to `offset`.
local function trim(stream, offset)
  redis.call('XTRIM', prefix .. 'log:' .. stream, 'MINID', str(offset + 1))
  if delete_if_empty(stream) then return end
  local collapse = prefix .. 'collapse:' .. stream
  local kept = redis.call('HGETALL', collapse)
  for i = 1, #kept, 2 do
    if tonumber(kept[i + 1]) <= offset then redis.call('HDEL', collapse, kept[i]) end
  end
end

-- Append at `offset`; returns the offset before it, '0' where there is none. The sweeper comes for
-- the stream when the first of its entries expires.
local function append(stream, offset, ttl_seconds, id, field, body, collapse)
  local log = prefix .. 'log:' .. stream
  local previous = last_offset_of(log)
  local expires_ms = str(math.floor(offset / 1000) + ttl_seconds * 1000)
  if collapse then
    redis.call('XADD', log, str(offset) .. '-0', 'i', id, 'x', expires_ms, field, body,
      'k', collapse)
  else
    redis.call('XADD', log, str(offset) .. '-0', 'i', id, 'x', expires_ms, field, body)
  end
  redis.call('ZADD', prefix .. 'expiry', 'LT', expires_ms, stream)
  return previous
end

-- Announce; returns how many connectors heard it. `offset` 0: it is not in the log. `removes`: the
-- offset of an entry that was taken out, '0' for none; '-<offset>': all up to there were dropped.
local function announce(channel, previous, offset, ttl_seconds, id, field, body, removes)
  local ts_ms = math.floor(now / 1000)
  local head = table.concat({previous, str(offset), str(ts_ms),
    str(ts_ms + ttl_seconds * 1000), field, id, removes or '0'}, ' ')
  return redis.call('PUBLISH', channel, head .. '\n' .. body)
end

-- Take an entry out of a log before its time: `code` for all who had not finished with it. What was
-- neither expired nor asked for is a loss to those who had not read it (rule 7).
local function take_out(stream, entry, code)
  local offset, fields = string.match(entry[1], '^%d+'), entry[2]
  redis.call('XDEL', prefix .. 'log:' .. stream, entry[1])
  if fields[7] == 'k' then
    local collapse = prefix .. 'collapse:' .. stream
    if redis.call('HGET', collapse, fields[8]) == offset then
      redis.call('HDEL', collapse, fields[8])
    end
  end
  if tonumber(fields[4]) <= now / 1000 then
    code = 'e'
  elseif code == 'd:backlog' or code == 'd:retention' then
    redis.call('SET', prefix .. 'lost:' .. stream, offset, 'EX', 30 * 86400)
  end
  return fields[5] == 'm' and close(stream, fields[2], code) or 0
end

-- Drop the oldest entries of a log that is longer than `max`. A part at a time: after `max` was
-- lowered they may be many.
local function shorten(stream, max, code)
  local log = prefix .. 'log:' .. stream
  local over, dropped = redis.call('XLEN', log) - max, nil
  while over > 0 do
    local part = math.min(over, 100)
    for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', part)) do
      take_out(stream, entry, code)
      dropped = string.match(entry[1], '^%d+')
    end
    over = over - part
  end
  return dropped
end
