-- A user becomes a member of a group: in the records of the group (`store_entry`), and in what follows from it
-- for the user (`let_in`).
-- uses: conversation, positions, group_keys, store_member, user_follow

-- The group has them, from the message after `seq` on.
local function store_entry(gid, user, role, seq, offset)
  store_member(gid, { user = user, role = role, joined_seq = seq, joined_offset = str(offset) })
  redis.call('ZADD', names_key(gid), 0, user)
  store_positions('group:' .. gid, user, { delivered = seq, read = seq })
end

-- Following begins after `offset`, where they joined.
local function let_in(gid, user, offset) follow_for_user(user, 'group:' .. gid, offset) end

local function enter(gid, user, role, offset)
  store_entry(gid, user, role, last_seq('group:' .. gid), offset)
  let_in(gid, user, offset)
end
