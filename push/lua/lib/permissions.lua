-- Who may do what in a group: the one place, for both interfaces. docs/chat.md shows it cell by cell.
-- uses: request, roles

-- The lowest rank that may do it. Adding is as the group's `invite` says.
local LEAST = {
  see = 'member', -- the group, its members, its messages
  send = 'member', -- and typing; see `open_to_send`
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

-- nil, or a refusal. `actor`: see `member_of`.
local function may(action, group, actor)
  if not actor then return refuse('not_member', 'only members of the group may do this') end
  local least = LEAST[action]
  if least == 'invite' then least = group.invite end
  if actor.rank >= RANK[least] then return nil end
  return refuse('not_allowed', 'this needs the role ' .. least .. ' in the group')
end
