-- An event of a group: a PUSH of kind `group`.
-- uses: request

-- Its id and content. Names need no escapes. No users: it is about the group as a whole.
local function event_of(gid, event, users)
  local id = request.id
  local by = request.by == '' and 'null' or '"' .. request.by .. '"'
  local named = users and ',"users":["' .. table.concat(users, '","') .. '"]' or ''
  local head = '{"id":"' .. id .. '","kind":"group","group":"' .. gid .. '","event":"' .. event
  return id, head .. '","by":' .. by .. named .. ',"data":null}'
end
