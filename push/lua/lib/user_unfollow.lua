-- A user no longer follows the stream of a group.
-- uses: fields, unfollow, user_streams, change_following, for_user

function WORK.unfollow(user, stream, code)
  redis.call('SREM', user_streams_key(user), stream)
  return change_following(user, function(record, token) return unfollow(record, token, stream, code) end)
end

local function unfollow_for_user(user, stream) for_user('unfollow', user, stream, DROPPED_REMOVED) end
