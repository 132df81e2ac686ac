-- Following in a part of a device's record (part.lua), by what its home has written down.
-- uses: fields, follow, part

-- Until when following a stream that has ended cannot be begun again by an errand that is late.
local function gone_key(token, stream) return prefix .. 'gone:' .. token .. ':' .. stream end

local function follow_version(record, token, stream, version, begin, user)
  if version < tonumber(redis.call('GET', gone_key(token, stream)) or '0') then return 0 end
  follow_as(record, token, stream, begin or stored_clock(), user)
  if redis.call('HEXISTS', record, DEVICE_CURSOR .. stream) == 0 then -- no member of the group
    let_part_expire_if_empty(record)
    return 0
  end
  local last = tonumber(redis.call('HGET', record, DEVICE_VERSION .. stream) or '0')
  redis.call('HSET', record, DEVICE_VERSION .. stream, str(math.max(version, last)))
  redis.call('PERSIST', record)
  return 1
end
