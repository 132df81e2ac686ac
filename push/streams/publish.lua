-- Append a message to each stream's log and announce it on its channel, or only announce it.
-- ARGV: id, body, options as msgpack (see publish.py), then per stream: stream, channel, and the
-- token that must be registered ('' where none must).
-- Returns {now, offset, id} and per stream how many heard it, -1 where its device is unknown. With an
-- idempotency key that came before: the same answer again, or {'mismatch'} for another request.
local id, body, options = ARGV[1], ARGV[2], cmsgpack.unpack(ARGV[3])
local ttl, field = options.ttl, options.field
local stored = options.stored

if options.idem then
  local kept = redis.call('HMGET', options.idem, 'digest', 'reply')
  if kept[1] == options.digest then return cmsgpack.unpack(kept[2]) end
  if kept[1] then return {'mismatch'} end
end

local offset = 0
if stored then
  offset = next_offset()
end
local now_ms = str(math.floor(now / 1000))
local reply = {str(now), str(offset), id}
local known = false
local lines = {'ts', now_ms, 'x', str(math.floor(now / 1000) + ttl * 1000), 'o', str(offset),
  'to', options.to}

-- A line of the ledger for each device that the message is for.
local function address(stream)
  local kind, name = string.sub(stream, 1, 4), string.sub(stream, 5)
  if kind == 'dev:' then
    lines[#lines + 1] = 't:' .. name
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

-- A newer message with the same key takes the place of the one before.
local function replace(stream)
  local key = prefix .. 'collapse:' .. stream
  local before = redis.call('HGET', key, options.collapse)
  redis.call('HSET', key, options.collapse, str(offset))
  if not before then return '0' end
  local entry = redis.call('XRANGE', prefix .. 'log:' .. stream, before, before)[1]
  if not entry then return '0' end
  take_out(stream, entry, 'd:collapsed')
  return before
end

for i = 4, #ARGV, 3 do
  local stream, channel, token = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if token ~= '' and redis.call('EXISTS', prefix .. 'device:' .. token) == 0 then
    reply[#reply + 1] = -1
  else
    known = true
    local previous, removes = '0', '0'
    if stored then
      if options.collapse then removes = replace(stream) end
      previous = append(stream, offset, ttl, id, field, body, options.collapse)
      if previous ~= '0' then
        local own = string.sub(stream, 1, 4) == 'dev:'
        local dropped = shorten(stream, own and options.max_backlog or options.max_shared,
          own and 'd:backlog' or 'd:retention')
        if dropped then removes = '-' .. dropped end
      end
    end
    if options.to then address(stream) end
    reply[#reply + 1] = announce(channel, previous, offset, ttl, id, field, body, removes)
  end
end

if options.to and known then
  local key = message_key(id)
  for i = 1, #lines, 1000 do
    redis.call('HSET', key, unpack(lines, i, math.min(i + 999, #lines)))
  end
  redis.call('EXPIRE', key, ttl + 86400)
end
if options.idem and known then
  redis.call('HSET', options.idem, 'digest', options.digest, 'reply', cmsgpack.pack(reply))
  redis.call('EXPIRE', options.idem, 86400)
end
return reply
