-- Who may read a conversation.
-- uses: conversation, bounds, permissions, group

-- The group and who acts in it, or two nils and a refusal; of a conversation of two just {}. After a nil for no
-- refusal the bounds of the conversation.
local function open_to_read(owner, by)
  if peers_of(owner) then
    local bounds = bounds_of(owner, by)
    return {}, { joined_seq = bounds.joined }, nil, bounds
  end
  local gid = string.sub(owner, 7)
  local group = group_of(gid)
  if not group then return nil, nil, unknown_group() end
  local actor = member_of(gid, by)
  local refusal = may('see', group, actor)
  if refusal then return nil, nil, refusal end
  return group, actor, nil, bounds_of(owner)
end
