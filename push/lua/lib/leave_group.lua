-- A user is no longer a member of a group.
-- uses: conversation, activity, group_keys, user_unfollow

local function leave(gid, user)
  local stream = 'group:' .. gid
  redis.call('HDEL', members_key(gid), user)
  redis.call('ZREM', names_key(gid), user)
  redis.call('HDEL', positions_key(stream), user)
  forget_active(stream, user)
  unfollow_for_user(user, stream)
end
