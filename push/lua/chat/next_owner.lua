-- Which role a user has in a group, and who would be its owner after them.
-- KEYS: clock.
-- ARGV: the request: group, user.
-- Returns the role, '' if none; and the admin who came first, else the member who did, '' if there is nobody
-- else.
-- uses: request, group_keys, group
local gid = request.group
local actor = group_of(gid) and member_of(gid, request.user)
if not actor then return done('', '') end

local function is_before(one, other)
  if one.rank ~= other.rank then return one.rank > other.rank end
  local joined, other_joined = tonumber(one.joined_offset), tonumber(other.joined_offset)
  if joined ~= other_joined then return joined < other_joined end
  return one.user < other.user
end

local next_owner
for _, user in ipairs(redis.call('HKEYS', members_key(gid))) do
  local member = user ~= request.user and member_of(gid, user)
  if member and (not next_owner or is_before(member, next_owner)) then next_owner = member end
end
return done(actor.role, next_owner and next_owner.user or '')
