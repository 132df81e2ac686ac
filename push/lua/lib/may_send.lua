-- Who may send to a group, as its type and those who are muted say.
-- uses: request, roles, permissions

local LEAST_TO_SEND = { normal = 'member', broadcast = 'admin' }
local LEAST_WHILE_ALL_ARE_MUTED = 'admin'

-- nil, or a refusal. `actor`: see `member_of`.
local function may_send(group, actor)
  local refusal = may('send', group, actor)
  if refusal then return refusal end
  local least = LEAST_TO_SEND[group.type]
  if actor.rank < RANK[least] then
    return refuse('not_allowed', 'in a broadcast group this needs the role ' .. least)
  end
  local all_muted = group.mute_all == '1' and actor.rank < RANK[LEAST_WHILE_ALL_ARE_MUTED]
  if actor.muted or all_muted then return refuse('muted', 'muted in this group') end
  return nil
end
