-- Members who left get nothing of the group's log from here on.
-- uses: push

-- `users`: nil for all members.
local function end_following(gid, users)
  local stream = 'group:' .. gid
  local names = users and table.concat(users, ' ') or '*'
  post_control(stream, '{"op":"removed","stream":"' .. stream .. '","users":"' .. names .. '"}')
end
