-- Users are told what happened to themselves in a group.
-- uses: group_event, user_post

local function tell_users(gid, event, users)
  for _, user in ipairs(users) do
    local id, content = event_of(gid, event, { user })
    post_to_user(user, id, content, '')
  end
end
