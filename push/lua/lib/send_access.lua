-- Who may write into a conversation.
-- uses: conversation, may_send, group

-- The group ({} for a conversation of two), or nil and a refusal.
local function open_to_send(owner, by)
  if peers_of(owner) then return {} end
  local gid = string.sub(owner, 7)
  local group = group_of(gid)
  if not group then return nil, unknown_group() end
  local refusal = may_send(group, member_of(gid, by))
  if refusal then return nil, refusal end
  return group
end
