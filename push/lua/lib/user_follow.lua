-- A user follows the stream of a group.
-- uses: follow, user_streams, change_following, for_user

function WORK.follow(user, stream, begin)
  redis.call('SADD', user_streams_key(user), stream)
  return change_following(
    user,
    function(record, token) return follow(record, token, stream, tonumber(begin)) end
  )
end

local function follow_for_user(user, stream, begin) for_user('follow', user, stream, str(begin)) end
