-- Members are removed, or one leaves.
-- KEYS: clock.
-- ARGV: the request: group, by, users, leaves (bool), id.
-- Returns a code for each of the users.
-- uses: request, group, permissions, may_on, leave_group, end_group_following, tell_group, tell_users
local gid = request.group
local group = group_of(gid)
if not group then return unknown_group() end
local actor = member_of(gid, request.by)
local refusal = may(request.leaves and 'see' or 'remove', group, actor)
if refusal then return refusal end
if request.leaves and actor.role == 'owner' then
  return refuse('not_allowed', 'the owner makes another member the owner first')
end

local codes, removed = {}, {}
for i, user in ipairs(request.users) do
  local target = member_of(gid, user)
  local no = target and not request.leaves and may_on('remove', group, actor, target)
  codes[i] = not target and 'not_found' or no and no[2] or 'ok'
  if codes[i] == 'ok' then removed[#removed + 1] = user end
end
if #removed > 0 then
  local event = request.leaves and 'left' or 'removed'
  for _, user in ipairs(removed) do
    leave(gid, user)
  end
  end_following(gid, removed)
  tell_group(gid, event, removed)
  tell_users(gid, event, removed)
end
return done(codes)
