-- The part of a device's record that is on the server of a stream, when that is not its home.

-- Until when following a stream that has ended cannot be begun again by an errand that is late.
local function gone_key(token, stream)
  return prefix .. 'gone:' .. token .. ':' .. stream
end

local function is_empty(record)
  for _, name in ipairs(redis.call('HKEYS', record)) do
    if string.sub(name, 1, 2) == 'c:' then return false end
  end
  return true
end

-- Nothing is followed here any more.
local function drop_part_if_empty(record)
  if is_empty(record) then redis.call('DEL', record) end
end

-- The same while a session has it, whose last words are still to come. It may end without a word.
local function let_part_expire_if_empty(record)
  if is_empty(record) then redis.call('EXPIRE', record, 86400) end
end

local function follow_version(record, token, stream, version, begin, user)
  if version < tonumber(redis.call('GET', gone_key(token, stream)) or '0') then return 0 end
  follow_as(record, token, stream, begin or stored_clock(), user)
  if redis.call('HEXISTS', record, 'c:' .. stream) == 0 then -- no member of the group
    let_part_expire_if_empty(record)
    return 0
  end
  redis.call('HSET', record, 'v:' .. stream, str(version))
  redis.call('PERSIST', record)
  return 1
end
