-- Since which offset a user is in groups, as the groups say. Request: user, groups. Returns an offset for
-- each, '' where the user is no member.
local offsets = {}
for i, gid in ipairs(request.groups) do
  local member = group_of(gid) and member_of(gid, request.user)
  offsets[i] = member and member.joined_offset or ''
end
return done(offsets)
