-- The devices of a user follow a stream, or no longer do, because the user's groups have changed.
-- uses: devices, followers, notify, push, request

-- Done here where the records of the user's devices are here, else by the daemon that runs the errand. Sessions
-- without a device read of it in the user's stream.
local function change_following(user, change)
  local tokens = redis.call('SMEMBERS', followers_key('user:' .. user))
  if request.alone then
    for _, token in ipairs(tokens) do
      local record = device_key(token)
      if change(record, token) then notify_device(record, token) end
    end
  end
  post_control('user:' .. user, '{"op":"groups"}')
  return tokens
end
