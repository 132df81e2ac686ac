-- Events of groups for webhooks.
-- uses: request, conversation, webhooks

-- No users: it is about the group as a whole.
local function put_group_event(gid, event, users)
  if not endpoints_for('group.changed') then return end
  local named = users and ',"users":["' .. table.concat(users, '","') .. '"]' or ''
  local head = '{"group":"' .. gid .. '","event":"' .. event .. '","by":' .. json_text(request.by)
  local seq = redis.call('HINCRBY', conversation_key('group:' .. gid), 'events', 1)
  put_event('group.changed', 'group:' .. gid, seq, head .. named .. '}')
end
