-- Who may do what in a group: the one place, for both doors. docs/chat.md shows it cell by cell.
local RANK = {member = 1, admin = 2, owner = 3, backend = 4}

-- The lowest rank that may do it. Adding is as the group's `invite` says.
local LEAST = {
  see = 'member', -- the group, its members, its messages
  send = 'member', -- and typing; see `may_send`
  add = 'invite',
  remove = 'admin', -- and mute: those of a lower rank
  mute = 'admin',
  mute_all = 'admin',
  change = 'admin', -- name, announcement, extra
  recall_others = 'admin',
  invite = 'owner', -- change who may add
  role = 'owner',
  transfer = 'owner',
  dismiss = 'owner',
}
local LEAST_TO_SEND = {normal = 'member', broadcast = 'admin'}
local LEAST_WHILE_ALL_ARE_MUTED = 'admin'

local NOT_MEMBER = 'only members of the group may do this'
local MUTED = 'muted in this group'

-- nil, or a refusal. `actor`: see `member_of`.
local function may(action, group, actor)
  if not actor then return refuse('not_member', NOT_MEMBER) end
  local least = LEAST[action]
  if least == 'invite' then least = group.invite end
  if actor.rank >= RANK[least] then return nil end
  return refuse('not_allowed', 'this needs the role ' .. least .. ' in the group')
end

local function may_send(group, actor)
  local refusal = may('send', group, actor)
  if refusal then return refusal end
  local least = LEAST_TO_SEND[group.type]
  if actor.rank < RANK[least] then
    return refuse('not_allowed', 'in a broadcast group this needs the role ' .. least)
  end
  local all_muted = group.mute_all == '1' and actor.rank < RANK[LEAST_WHILE_ALL_ARE_MUTED]
  if actor.muted or all_muted then return refuse('muted', MUTED) end
  return nil
end

-- On somebody else: only on those below. The owner is removed or muted by nobody, not by the backend.
local function may_on(action, group, actor, target)
  local refusal = may(action, group, actor)
  if refusal then return refusal end
  if math.min(actor.rank, RANK.owner) > target.rank then return nil end
  return refuse('not_allowed', 'not on a member with the role ' .. target.role)
end
