-- Recalling a message of a conversation.
-- uses: conversation

-- Its seq and its sender are left in the history.
local function recall_kept(owner, seq, from)
  redis.call('XDEL', history_key(owner), str(seq) .. '-0')
  redis.call('HSET', recalled_key(owner), str(seq), from)
end

-- A PUSH that says so. `by`: '' is the backend.
local function recall_content(id, conversation, seq, by)
  local name = by == '' and 'null' or '"' .. by .. '"'
  local head = '{"id":"' .. id .. '","kind":"recall","conversation":"' .. conversation .. '","seq":'
  return head .. str(seq) .. ',"by":' .. name .. ',"data":null}'
end
