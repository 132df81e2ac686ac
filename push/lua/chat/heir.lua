-- Which role a user has in a group, '' if none, and who would be its owner after them: the admin who came
-- first, else the member who did, '' if there is nobody else. Request: group, user.
local gid = request.group
local actor = group_of(gid) and member_of(gid, request.user)
if not actor then return done('', '') end
local heir
local users = redis.call('HKEYS', members_key(gid))
for _, user in ipairs(users) do
  local member = user ~= request.user and member_of(gid, user)
  if member then
    member.joined = tonumber(member.joined_offset)
    local better = not heir or member.rank > heir.rank
      or member.rank == heir.rank and (member.joined < heir.joined
        or member.joined == heir.joined and member.user < heir.user)
    if better then heir = member end
  end
end
return done(actor.role, heir and heir.user or '')
