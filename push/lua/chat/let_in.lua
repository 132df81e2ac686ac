-- Some members of a new group follow it from now on, and are told. Those who have left it meanwhile are not,
-- nor those of a group that has ended.
-- KEYS: clock.
-- ARGV: the request: group, by, id, offset (where they joined), users.
-- Returns nothing more.
-- uses: request, group_keys, group, enter_group, tell_users
local gid = request.group
if redis.call('EXISTS', group_key(gid)) == 0 then return done() end
local users = {}
for _, user in ipairs(request.users) do
  local member = member_of(gid, user)
  if member and member.joined_offset == request.offset then
    let_in(gid, user, tonumber(request.offset))
    users[#users + 1] = user
  end
end
tell_users(gid, 'created', users)
return done()
