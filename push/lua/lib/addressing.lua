-- Beginning the ledger's record of a message: which devices, or how many, it is for.
-- uses: fields, ledger, followers, devices

-- What the record says of one stream, appended to `lines`: a line for each device, or how many follow.
local function address(lines, stream, line)
  local kind = string.sub(stream, 1, 4)
  if kind == 'dev:' then
    lines[#lines + 1] = LEDGER_LINE .. string.sub(stream, 5)
    lines[#lines + 1] = line
  elseif kind == 'user' then
    local tokens = redis.call('SMEMBERS', followers_key(stream))
    for _, token in ipairs(tokens) do
      lines[#lines + 1] = LEDGER_LINE .. token
      lines[#lines + 1] = line
    end
    lines[#lines + 1] = LEDGER_TOKENS .. string.sub(stream, 6)
    lines[#lines + 1] = table.concat(tokens, ' ')
  else
    lines[#lines + 1] = LEDGER_ADDRESSED
    lines[#lines + 1] = stream == 'all' and redis.call('ZCARD', DEVICES_KEY)
      or redis.call('SCARD', followers_key(stream))
  end
end

-- The record of a message for `streams`; `to` is its target, `offset` a text. Where a part of it came from
-- another server (resharding), streams that are written now have an offset of their own in it. `trace`: the
-- traceparent of its publishing, nil for none. `is_new`: its id is, so no part of it can have come.
local function begin_record(id, to, offset, ttl, streams, trace, is_new)
  local at_ms, key = clock_ms(), message_key(id)
  local now_ms, expires_ms = str(at_ms), str(at_ms + ttl * 1000)
  local line = WAITING .. '0 ' .. now_ms .. ' '
  if is_new and not trace and not streams[2] and string.sub(streams[1], 1, 4) == 'dev:' then
    -- By far the commonest, without a table.
    -- stylua: ignore
    redis.call('HSET', key, LEDGER_TIME, now_ms, LEDGER_EXPIRES, expires_ms, LEDGER_OFFSET, offset, LEDGER_TO, to,
      LEDGER_LINE .. string.sub(streams[1], 5), line)
    return redis.call('EXPIRE', key, str(ttl + KEPT_AFTER_SECONDS))
  end
  local lines = { LEDGER_TIME, now_ms, LEDGER_EXPIRES, expires_ms, LEDGER_OFFSET, offset, LEDGER_TO, to }
  if not is_new and redis.call('HEXISTS', key, LEDGER_OFFSET) == 1 then
    lines = {}
    for _, stream in ipairs(streams) do
      lines[#lines + 1] = LEDGER_OFFSET_IN .. stream
      lines[#lines + 1] = offset
    end
  end
  if trace then
    lines[#lines + 1] = LEDGER_TRACE
    lines[#lines + 1] = trace
  end
  for _, stream in ipairs(streams) do
    address(lines, stream, line)
  end
  for i = 1, #lines, 1000 do
    redis.call('HSET', key, unpack(lines, i, math.min(i + 999, #lines)))
  end
  redis.call('EXPIRE', key, str(ttl + KEPT_AFTER_SECONDS))
end
