-- A group, a member's role or mute, or the owner changes: all of it or nothing.
-- KEYS: clock.
-- ARGV: the request: group, by, id, and what changes: name, announcement, extra, invite (text), mute_all
-- (bool), member, role, muted (bool), owner.
-- Returns the fields of the group.
-- uses: request, group_keys, group, group_description, permissions, may_on, store_member, tell_group
local gid = request.group
local group = group_of(gid)
if not group then return unknown_group() end
local actor = member_of(gid, request.by)
local events = {}

local function event(name, users) events[#events + 1] = { name, users } end

local function set(field, value)
  if group[field] == value then return false end
  group[field] = value
  redis.call('HSET', group_key(gid), field, value)
  return true
end

local function target_of(field, user)
  local target = member_of(gid, user)
  if target then return target end
  return nil, refuse('not_found', 'this user is not a member of the group', field)
end

-- First whether all of it is allowed.
local refusal = may('see', group, actor)
local target, new_owner
if request.name or request.announcement or request.extra then
  refusal = refusal or may('change', group, actor)
end
if request.invite then refusal = refusal or may('invite', group, actor) end
if request.mute_all ~= nil then refusal = refusal or may('mute_all', group, actor) end
if request.role then refusal = refusal or may('role', group, actor) end
if request.muted ~= nil then refusal = refusal or may('mute', group, actor) end
if request.owner then refusal = refusal or may('transfer', group, actor) end
if not refusal and request.member then
  target, refusal = target_of('member.user', request.member)
  if request.role then refusal = refusal or may_on('role', group, actor, target) end
  if request.muted ~= nil then refusal = refusal or may_on('mute', group, actor, target) end
end
if not refusal and request.owner then
  new_owner, refusal = target_of('owner', request.owner)
end
if refusal then return refusal end

local changed = false
for _, field in ipairs({ 'name', 'announcement', 'extra', 'invite' }) do
  if request[field] then changed = set(field, request[field]) or changed end
end
if changed then event('changed') end
if request.mute_all ~= nil and set('mute_all', request.mute_all and '1' or '0') then event('muted') end
if target and request.muted ~= nil and target.muted ~= request.muted then
  target.muted = request.muted
  store_member(gid, target)
  event('muted', { target.user })
end
if target and request.role and target.role ~= request.role then
  target.role = request.role
  store_member(gid, target)
  event('role', { target.user })
end
if new_owner and new_owner.user ~= group.owner then
  local before = member_of(gid, group.owner)
  before.role = 'admin'
  store_member(gid, before)
  new_owner = member_of(gid, new_owner.user)
  new_owner.role, new_owner.muted = 'owner', false
  store_member(gid, new_owner)
  set('owner', new_owner.user)
  event('role', { new_owner.user, before.user })
end
local act = request.id
for i, each in ipairs(events) do
  request.id = act .. '-' .. i -- each is a message of its own
  tell_group(gid, each[1], each[2])
end
return done(described(group))
