-- Binding a device to a user.
-- uses: fields, record, follow, user_streams, device_errands, binding, jwt_topics

-- The device is this user's, '' = nobody's. `place`: 'alone' when there is one server only, 'here' when
-- the user's stream is of this one. Returns false when nothing changed.
local function bind(record, token, user, place)
  local before = user_of(record) or ''
  if before == user then return false end
  if before ~= '' then
    for _, name in ipairs(redis.call('HKEYS', record)) do
      local stream = followed_stream(name)
      if stream == 'user:' .. before or stream and string.sub(stream, 1, 6) == 'group:' then
        stop_following(record, token, stream, DROPPED_UNBOUND)
      end
    end
    stop_topics_of_jwt(record, token)
    redis.call('HDEL', record, DEVICE_USER)
  end
  if user == '' then return true end
  redis.call('HSET', record, DEVICE_USER, user)
  start_following(record, token, 'user:' .. user, place ~= 'away')
  if place ~= 'alone' then
    send_errand('enlist', token, 'user:' .. user)
    return true
  end
  for _, stream in ipairs(redis.call('SMEMBERS', user_streams_key(user))) do
    follow_as(record, token, stream, stored_clock(), user)
  end
  return true
end
