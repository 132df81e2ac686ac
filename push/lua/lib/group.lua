-- A group: the record group:<id>, there as long as the group is; its members in members:<id>, as
-- "<role> <muted 0|1> <seq when joined> <offset when joined>", and in order in member-names:<id>.
local function group_key(gid) return prefix .. 'group:' .. gid end
local function members_key(gid) return prefix .. 'members:' .. gid end
local function names_key(gid) return prefix .. 'member-names:' .. gid end
local function group_stream(gid) return 'group:' .. gid end

local UNKNOWN_GROUP = 'there is no such group'

local function group_of(gid)
  local fields = redis.call('HGETALL', group_key(gid))
  if #fields == 0 then return nil end
  local group = {id = gid}
  for i = 1, #fields, 2 do group[fields[i]] = fields[i + 1] end
  return group
end

-- A member, the backend itself for '', nil for anybody else.
local function member_of(gid, user)
  if user == '' then return {role = 'backend', rank = RANK.backend, joined_seq = 0} end
  local text = redis.call('HGET', members_key(gid), user)
  if not text then return nil end
  local role, muted, seq, offset = string.match(text, '^(%a+) (%d) (%d+) (%d+)$')
  return {user = user, role = role, rank = RANK[role], muted = muted == '1',
    joined_seq = tonumber(seq), joined_offset = offset}
end

local function store_member(gid, member)
  redis.call('HSET', members_key(gid), member.user, table.concat({member.role,
    member.muted and '1' or '0', str(member.joined_seq), member.joined_offset}, ' '))
end

local function last_seq(owner)
  return tonumber(redis.call('HGET', prefix .. 'conversation:' .. owner, 'seq') or '0')
end

-- Following begins behind `offset`, reading behind the last message of now.
local function enter(gid, user, role, offset)
  local stream = group_stream(gid)
  local seq = last_seq(stream)
  store_member(gid, {user = user, role = role, joined_seq = seq, joined_offset = str(offset)})
  redis.call('ZADD', names_key(gid), 0, user)
  redis.call('HSET', prefix .. 'positions:' .. stream, user, str(seq) .. ' ' .. str(seq))
  for_user('follow', user, stream, str(offset))
end

local function leave(gid, user)
  local stream = group_stream(gid)
  redis.call('HDEL', members_key(gid), user)
  redis.call('ZREM', names_key(gid), user)
  redis.call('HDEL', prefix .. 'positions:' .. stream, user)
  for_user('unfollow', user, stream, 'd:removed')
end

-- The members who left hear nothing of the group behind this entry.
local function end_following(gid, users)
  local stream = group_stream(gid)
  post_control(stream, '{"op":"removed","stream":"' .. stream .. '","users":"'
    .. (users and table.concat(users, ' ') or '*') .. '"}')
end

-- A PUSH of kind `group`: its id and body. Names need no escapes. No users: of the group as a whole.
local function event_of(gid, event, users)
  local id = request.id
  local by = request.by == '' and 'null' or '"' .. request.by .. '"'
  local named = users and ',"users":["' .. table.concat(users, '","') .. '"]' or ''
  return id, '{"id":"' .. id .. '","kind":"group","group":"' .. gid .. '","event":"' .. event
    .. '","by":' .. by .. named .. ',"data":null}'
end

local function tell_group(gid, event, users)
  post_push(group_stream(gid), event_of(gid, event, users))
end

-- Each of `users` is told of himself.
local function tell_users(gid, event, users)
  for _, user in ipairs(users) do
    local id, body = event_of(gid, event, {user})
    for_user('post', user, id, body, '')
  end
end

-- What is told of a group, as a flat list.
local function described(group)
  local fields = {}
  for name, value in pairs(group) do
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  fields[#fields + 1] = 'members'
  fields[#fields + 1] = redis.call('ZCARD', names_key(group.id))
  return fields
end
