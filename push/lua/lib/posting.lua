-- Writing a message into streams: its log, its record in the ledger, the channel.

-- What the ledger's record of a message says of one stream, appended to `lines`: a line for each device,
-- or how many follow.
local function address(lines, stream, now_ms)
  local kind = string.sub(stream, 1, 4)
  if kind == 'dev:' then
    lines[#lines + 1] = 't:' .. string.sub(stream, 5)
    lines[#lines + 1] = 's0 ' .. now_ms .. ' '
  elseif kind == 'user' then
    local user = string.sub(stream, 6)
    local tokens = redis.call('SMEMBERS', prefix .. 'user-devices:' .. user)
    for _, token in ipairs(tokens) do
      lines[#lines + 1] = 't:' .. token
      lines[#lines + 1] = 's0 ' .. now_ms .. ' '
    end
    lines[#lines + 1] = 'u:' .. user
    lines[#lines + 1] = table.concat(tokens, ' ')
  else
    lines[#lines + 1] = 'n'
    lines[#lines + 1] = stream == 'all' and redis.call('ZCARD', prefix .. 'devices')
      or redis.call('SCARD', prefix .. 'followers:' .. stream)
  end
end

-- The ledger's record of a message for `streams`; `to` says of whom it is for. Kept a day longer than
-- the message. Where a part of it came from another server (resharding), streams that are written now
-- have an offset of their own in it.
local function begin_record(id, to, offset, ttl, streams)
  local now_ms, key = str(math.floor(now / 1000)), message_key(id)
  local lines = {'ts', now_ms, 'x', str(math.floor(now / 1000) + ttl * 1000), 'o', str(offset),
    'to', to}
  if redis.call('HEXISTS', key, 'o') == 1 then
    lines = {}
    for _, stream in ipairs(streams) do
      lines[#lines + 1] = 'o:' .. stream
      lines[#lines + 1] = str(offset)
    end
  end
  for _, stream in ipairs(streams) do address(lines, stream, now_ms) end
  for i = 1, #lines, 1000 do
    redis.call('HSET', key, unpack(lines, i, math.min(i + 999, #lines)))
  end
  redis.call('EXPIRE', key, ttl + 86400)
end

-- A newer message with the same key takes the place of the one before. Returns the offset of that.
local function replace(stream, collapse, offset)
  local key = prefix .. 'collapse:' .. stream
  local before = redis.call('HGET', key, collapse)
  redis.call('HSET', key, collapse, str(offset))
  if not before then return '0' end
  local entry = redis.call('XRANGE', prefix .. 'log:' .. stream, before, before)[1]
  if not entry then return '0' end
  take_out(stream, entry, 'd:collapsed')
  return before
end

-- Into the log and on the channel. `keep`: how many entries the log of a device (`max_backlog`), or one
-- that many follow (`max_shared`), may have. Returns how many connectors heard it.
local function post(stream, channel, offset, ttl, id, field, body, keep, collapse)
  local removes = '0'
  if collapse then removes = replace(stream, collapse, offset) end
  local previous = append(stream, offset, ttl, id, field, body, collapse)
  if previous ~= '0' then
    local own = string.sub(stream, 1, 4) == 'dev:'
    local dropped = shorten(stream, own and keep.max_backlog or keep.max_shared,
      own and 'd:backlog' or 'd:retention')
    if dropped then removes = '-' .. dropped end
  end
  return announce(channel, previous, offset, ttl, id, field, body, removes)
end
