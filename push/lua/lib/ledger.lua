-- The delivery ledger: what became of a message, in the hash message:<id>.
-- Fields: `to`, `ts`, `x` (expiry, ms), `o` (offset, 0 = not stored).
-- A message that was addressed to devices or users has a field `t:<token>` per device:
-- "<state><written 0|1> <ms> <reason>", and `u:<user>` with the tokens it was for, if by users. All
-- counts are made of these when somebody asks.
-- Any other has counters: `n` addressed, `w` written, `a` acknowledged, `e` expired, `c` cancelled,
-- `d:<reason>` dropped; and `z`, once its entry has left the log: the counter in which those stand
-- that had not finished with it then.
-- States: s waits, a acknowledged, e expired, c cancelled, d dropped (with its reason).
-- A device finishes with a message once; only an acknowledgement that comes after all replaces what
-- was counted before it.

-- A code is 'a', 'e', 'c' or 'd:<reason>': also the name of the counter.
local function message_key(id)
  return prefix .. 'message:' .. id
end

-- Whether the ledger keeps a line per device for messages of this stream.
local function is_listed(stream)
  local kind = string.sub(stream, 1, 4)
  return kind == 'dev:' or kind == 'user'
end

-- A line that says: written to the device. Returns nothing.
local function note_written(id, token)
  local key, field = message_key(id), 't:' .. token
  local line = redis.call('HGET', key, field)
  if not line or string.sub(line, 2, 2) ~= '0' then return end
  if string.sub(line, 1, 1) == 's' then
    redis.call('HSET', key, field, 's1 ' .. str(math.floor(now / 1000)) .. ' ')
  else
    redis.call('HSET', key, field, string.sub(line, 1, 1) .. '1' .. string.sub(line, 3))
  end
end

-- A device finishes with a message. Returns whether this changed anything.
local function settle(id, token, code, written)
  local key, field = message_key(id), 't:' .. token
  local line = redis.call('HGET', key, field)
  if not line then return false end
  local state, was_written = string.sub(line, 1, 1), string.sub(line, 2, 2)
  if state ~= 's' and (state == 'a' or code ~= 'a') then
    if written then note_written(id, token) end
    return false
  end
  if written then was_written = '1' end
  redis.call('HSET', key, field, string.sub(code, 1, 1) .. was_written .. ' '
    .. str(math.floor(now / 1000)) .. ' ' .. string.sub(code, 3))
  return true
end

-- `count` devices finish with a message that has counters. One that is given up as unacknowledged counts
-- so even if its entry left the log a moment before: an acknowledgement that comes later knows then what it
-- replaces.
local function settle_count(id, code, count)
  local key = message_key(id)
  local kept = redis.call('HMGET', key, 'n', 'z')
  if not kept[1] then return end
  if kept[2] then
    if code ~= 'a' and code ~= 'd:unacknowledged' then return end
    redis.call('HINCRBY', key, kept[2], -count)
  end
  redis.call('HINCRBY', key, code, count)
end

-- `count` devices that had finished with `code` acknowledge a message with counters after all.
local function replace_count(id, code, count)
  local key = message_key(id)
  if redis.call('EXISTS', key) == 0 then return end
  redis.call('HINCRBY', key, code, -count)
  redis.call('HINCRBY', key, 'a', count)
end

-- `count` more sessions were handed a message that has counters.
local function count_written(id, count)
  local key = message_key(id)
  if redis.call('EXISTS', key) == 1 then redis.call('HINCRBY', key, 'w', count) end
end

-- A message that has counters is for one more device.
local function add_addressed(id)
  local key = message_key(id)
  local kept = redis.call('HMGET', key, 'n', 'z')
  if kept[1] and not kept[2] then redis.call('HINCRBY', key, 'n', 1) end
end

-- How many have not finished with a message that has counters.
local function count_waiting(key)
  local fields = redis.call('HGETALL', key)
  local waiting = 0
  for i = 1, #fields, 2 do
    local name = fields[i]
    if name == 'n' then
      waiting = waiting + tonumber(fields[i + 1])
    elseif name == 'a' or name == 'e' or name == 'c' or string.sub(name, 1, 2) == 'd:' then
      waiting = waiting - tonumber(fields[i + 1])
    end
  end
  return waiting
end

-- The entry of a message leaves the log of a stream: `code` for all who had not finished with it.
-- Returns for how many devices.
local function close(stream, id, code)
  local key = message_key(id)
  if string.sub(stream, 1, 4) == 'dev:' then
    return settle(id, string.sub(stream, 5), code) and 1 or 0
  end
  local settled = 0
  if string.sub(stream, 1, 5) == 'user:' then
    local tokens = redis.call('HGET', key, 'u:' .. string.sub(stream, 6)) or ''
    for token in string.gmatch(tokens, '%S+') do
      if settle(id, token, code) then settled = settled + 1 end
    end
    return settled
  end
  local kept = redis.call('HMGET', key, 'n', 'z')
  if not kept[1] or kept[2] then return 0 end
  settled = count_waiting(key)
  if settled > 0 then redis.call('HINCRBY', key, code, settled) end
  redis.call('HSET', key, 'z', code)
  return settled
end

-- A device passes what is in a log behind `cursor`, up to `to`: `code` for each message that it had
-- not finished with; with 'a' they count as written where `position` had not come.
local function pass(stream, token, cursor, position, to, code)
  local listed, after = is_listed(stream), cursor
  while true do
    local page = redis.call('XRANGE', prefix .. 'log:' .. stream, str(after + 1), str(to),
      'COUNT', 100)
    for _, entry in ipairs(page) do
      after = tonumber(string.match(entry[1], '^%d+'))
      local id = entry[2][2]
      if entry[2][5] == 'm' then
        if listed then
          settle(id, token, code, code == 'a')
        else
          if code == 'a' and after > position then count_written(id, 1) end
          settle_count(id, code, 1)
        end
      end
    end
    if #page < 100 then return end
  end
end
