-- Who may do something to another member of a group.
-- uses: request, roles, permissions

-- nil, or a refusal. Only on those of a lower rank. The owner is removed or muted by nobody, not even by the
-- backend.
local function may_on(action, group, actor, target)
  local refusal = may(action, group, actor)
  if refusal then return refusal end
  if math.min(actor.rank, RANK.owner) > target.rank then return nil end
  return refuse('not_allowed', 'not on a member with the role ' .. target.role)
end
