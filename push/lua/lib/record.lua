-- Reading a device's record.
-- uses: fields

local function user_of(record) return redis.call('HGET', record, DEVICE_USER) end

-- The stream of which a field says that it is followed, nil for another field; and whether that stream is on
-- another server.
local function followed_stream(field)
  local kind = string.sub(field, 1, 2)
  if kind == DEVICE_CURSOR then return string.sub(field, 3), false end
  if kind == DEVICE_ELSEWHERE then return string.sub(field, 3), true end
end

-- The session that has the device, and the boot id of its connector: the caller that changes the record
-- waits until that connector applies it. '' where there is none.
local function holder_of(record)
  local kept = redis.call('HMGET', record, DEVICE_SESSION, DEVICE_BOOT)
  return kept[1] or '', kept[2] or ''
end
