-- A message of a conversation as a PUSH.

-- `tail` is the rest of its JSON, after the seq.
local function chat_content(id, conversation, from, seq, tail)
  local head = '{"id":"' .. id .. '","kind":"chat","conversation":"' .. conversation .. '","from":"' .. from
  return head .. '","seq":' .. str(seq) .. tail
end
