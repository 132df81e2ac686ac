-- The part of a device's record that is on the server of a stream, when that is not its home.
-- uses: fields

local function is_empty(record)
  for _, name in ipairs(redis.call('HKEYS', record)) do
    if string.sub(name, 1, 2) == DEVICE_CURSOR then return false end
  end
  return true
end

-- Nothing is followed here any more.
local function drop_part_if_empty(record)
  if is_empty(record) then redis.call('DEL', record) end
end

-- The same while a session has it, whose last words are still to come. It may end without a word.
local function let_part_expire_if_empty(record)
  if is_empty(record) then redis.call('EXPIRE', record, DAY_SECONDS) end
end
