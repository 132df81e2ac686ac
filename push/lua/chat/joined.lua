-- Since which offset a user is in groups, as the groups say.
-- KEYS: clock.
-- ARGV: the request: user, groups.
-- Returns an offset for each, '' where the user is no member.
-- uses: request, group
local offsets = {}
for i, gid in ipairs(request.groups) do
  local member = group_of(gid) and member_of(gid, request.user)
  offsets[i] = member and member.joined_offset or ''
end
return done(offsets)
