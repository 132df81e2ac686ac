-- Members are added.
-- KEYS: clock.
-- ARGV: the request: group, by, users, refused (users that `by` may not add), max_members, rate, id.
-- Returns a code for each of the users.
-- uses: request, rate, group_keys, group, permissions, enter_group, tell_group, tell_users
local limited = rate_refusal()
if limited then return limited end
local gid = request.group
local group = group_of(gid)
if not group then return unknown_group() end
local refusal = may('add', group, member_of(gid, request.by))
if refusal then return refusal end

local room = request.max_members - redis.call('ZCARD', names_key(gid))
local codes, added, refused = {}, {}, {}
for _, user in ipairs(request.refused) do
  refused[user] = true
end
for i, user in ipairs(request.users) do
  if redis.call('HEXISTS', members_key(gid), user) == 1 then
    codes[i] = 'already_exists'
  elseif refused[user] then
    codes[i] = 'not_allowed'
  elseif #added >= room then
    codes[i] = 'group_full'
  else
    added[#added + 1] = user
    codes[i] = 'ok'
  end
end
if #added > 0 then
  -- Those who were members before read it in the group's log; following of the others begins after it.
  tell_group(gid, 'added', added)
  for _, user in ipairs(added) do
    enter(gid, user, 'member', now)
  end
  tell_users(gid, 'added', added)
end
return done(codes)
