-- Who may read a conversation.
-- uses: conversation, bounds, permissions, group

-- The group and who acts in it, or two nils and a refusal; of a conversation of two just {}.
local function open_to_read(owner, by)
  if peers_of(owner) then return {}, { joined_seq = joined_seq(owner, by) } end
  local gid = string.sub(owner, 7)
  local group = group_of(gid)
  if not group then return nil, nil, unknown_group() end
  local actor = member_of(gid, by)
  local refusal = may('see', group, actor)
  if refusal then return nil, nil, refusal end
  return group, actor
end
