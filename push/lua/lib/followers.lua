-- Who follows a stream that many may follow.

-- The set of the devices that follow it.
local function followers_key(stream)
  if string.sub(stream, 1, 5) == 'user:' then return prefix .. 'user-devices:' .. string.sub(stream, 6) end
  return prefix .. 'followers:' .. stream
end
