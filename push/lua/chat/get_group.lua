-- A group, or a page of its members.
-- KEYS: clock.
-- ARGV: the request: group, by, and for members: cursor, limit.
-- Returns the fields of the group; or {user, role, muted 0|1} for each member in order, and the cursor
-- of the next page ('' for none). A cursor is a name; of a long one its beginning, '~', and how many
-- members with that beginning were told (a cursor has at most 64 bytes, a name 128).
-- uses: request, group_keys, group, group_description, permissions
local gid = request.group
local group = group_of(gid)
if not group then return unknown_group() end
local refusal = may('see', group, member_of(gid, request.by))
if refusal then return refusal end
if not request.limit then return done(described(group)) end

local BEGINNING = 56
local start, told = string.match(request.cursor, '^(.*)~(%d+)$')
local begin = request.cursor == '' and '-' or start and '[' .. start or '(' .. request.cursor
local skip, limit = tonumber(told or '0'), request.limit + 1
local users = redis.call('ZRANGEBYLEX', names_key(gid), begin, '+', 'LIMIT', skip, limit)
local members = {}
for i = 1, math.min(#users, request.limit) do
  local member = member_of(gid, users[i])
  members[i] = { users[i], member.role, member.muted and 1 or 0 }
end
if #users <= request.limit then return done(members, '') end
local cursor = users[request.limit]
if #cursor > 64 then
  start = string.sub(cursor, 1, BEGINNING)
  cursor = start .. '~' .. redis.call('ZLEXCOUNT', names_key(gid), '[' .. start, '[' .. cursor)
end
return done(members, cursor)
