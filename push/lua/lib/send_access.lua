-- Who may write into a conversation.
-- uses: request, roles, conversation, permissions, group

local LEAST_TO_SEND = { normal = 'member', broadcast = 'admin' }
local LEAST_WHILE_ALL_ARE_MUTED = 'admin'

-- The group ({} for a conversation of two), or nil and a refusal: by its type, and those who are muted.
local function open_to_send(owner, by)
  if peers_of(owner) then return {} end
  local gid = string.sub(owner, 7)
  local group = group_of(gid)
  if not group then return nil, unknown_group() end
  local actor = member_of(gid, by)
  local refusal = may('send', group, actor)
  if refusal then return nil, refusal end
  local least = LEAST_TO_SEND[group.type]
  if actor.rank < RANK[least] then
    return nil, refuse('not_allowed', 'in a broadcast group this needs the role ' .. least)
  end
  local all_muted = group.mute_all == '1' and actor.rank < RANK[LEAST_WHILE_ALL_ARE_MUTED]
  if actor.muted or all_muted then return nil, refuse('muted', 'muted in this group') end
  return group
end
