-- A user becomes a member of a group.
-- uses: conversation, positions, group_keys, store_member, user_follow

-- Following begins after `offset`, reading after the last message of now.
local function enter(gid, user, role, offset)
  local stream = 'group:' .. gid
  local seq = last_seq(stream)
  store_member(gid, { user = user, role = role, joined_seq = seq, joined_offset = str(offset) })
  redis.call('ZADD', names_key(gid), 0, user)
  store_positions(stream, user, { delivered = seq, read = seq })
  follow_for_user(user, stream, offset)
end
