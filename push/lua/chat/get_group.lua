-- A group, or a page of its members.
-- KEYS: clock.
-- ARGV: the request: group, by, and for members: cursor, limit.
-- Returns the fields of the group; or {user, role, muted 0|1} for each member in order of names after
-- `cursor` ('' = from the first), and whether more follow (0|1).
-- uses: packed, request, group_keys, group, group_description, permissions
local gid = request.group
local group = group_of(gid)
if not group then return packed(unknown_group()) end
local refusal = may('see', group, member_of(gid, request.by))
if refusal then return packed(refusal) end
if not request.limit then return packed(done(described(group))) end

local begin = request.cursor == '' and '-' or '(' .. request.cursor
local users = redis.call('ZRANGEBYLEX', names_key(gid), begin, '+', 'LIMIT', 0, request.limit + 1)
local more = table.remove(users, request.limit + 1) and 1 or 0
local members = {}
for i, text in ipairs(#users > 0 and redis.call('HMGET', members_key(gid), unpack(users)) or {}) do
  local role, muted = string.match(text, '^(%a+) (%d)')
  members[i] = { users[i], role, tonumber(muted) }
end
return packed(done(members, more))
