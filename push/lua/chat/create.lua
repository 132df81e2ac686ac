-- A group begins.
-- KEYS: clock.
-- ARGV: the request: group, by (its owner), name, type, extra, members, max_members, rate, and id for the event.
-- Returns the fields of the group.
-- uses: request, rate, conversation, activity, group_keys, group, group_description, enter_group, tell_users
-- uses: let_in_later, group_webhook
local refusal = rate_refusal()
if refusal then return refusal end
local gid = request.group
if redis.call('EXISTS', group_key(gid)) == 1 then
  return refuse('already_exists', 'this group is there already')
end
local users = { request.by }
for _, user in ipairs(request.members) do
  if user ~= request.by then users[#users + 1] = user end
end
if #users > request.max_members then
  return refuse('group_full', 'a group has at most ' .. request.max_members .. ' members', 'members')
end

local offset = next_offset()
-- stylua: ignore
redis.call('HSET', group_key(gid), 'name', request.name, 'type', request.type, 'owner', request.by,
  'announcement', '', 'extra', request.extra, 'mute_all', '0', 'invite', 'admin',
  'ts', str(math.floor(offset / 1000)))
redis.call('HSET', conversation_key('group:' .. gid), 'seq', '0', 'first', '1', 'at', str(offset))
note_active('group:' .. gid, request.by)
for i, user in ipairs(users) do
  store_entry(gid, user, i == 1 and 'owner' or 'member', 0, offset)
end
if #users > LET_IN_AT_A_TIME then
  let_in_later(gid, users, offset)
else
  for _, user in ipairs(users) do
    let_in(gid, user, offset)
  end
  tell_users(gid, 'created', users)
end
put_group_event(gid, 'created', users)
return done(described(group_of(gid)))
