-- Writing a member of a group; read by `member_of` and get_group.lua.
-- uses: group_keys

local function store_member(gid, member)
  local muted = member.muted and '1' or '0'
  local text = table.concat({ member.role, muted, str(member.joined_seq), member.joined_offset }, ' ')
  redis.call('HSET', members_key(gid), member.user, text)
end
