-- How far back somebody may read in a conversation.
-- uses: request

-- The first message that somebody may read; `group` and `actor`: see `open_to_read`.
local function first_for(group, actor, bounds)
  if group.id and request.history_before_join then return bounds.first end
  return math.max(bounds.first, actor.joined_seq + 1)
end
