-- Reading a group and its members.
-- uses: request, roles, group_keys

-- The fields of its record and its id, nil when there is no such group.
local function group_of(gid)
  local fields = redis.call('HGETALL', group_key(gid))
  if #fields == 0 then return nil end
  local group = { id = gid }
  for i = 1, #fields, 2 do
    group[fields[i]] = fields[i + 1]
  end
  return group
end

-- A member, the backend itself for '', nil for anybody else.
local function member_of(gid, user)
  if user == '' then return { role = 'backend', rank = RANK.backend, joined_seq = 0 } end
  local text = redis.call('HGET', members_key(gid), user)
  if not text then return nil end
  local role, muted, seq, offset = string.match(text, '^(%a+) (%d) (%d+) (%d+)$')
  return {
    user = user,
    role = role,
    rank = RANK[role],
    muted = muted == '1',
    joined_seq = tonumber(seq),
    joined_offset = offset,
  }
end

local function unknown_group() return refuse('unknown_group', 'there is no such group') end
