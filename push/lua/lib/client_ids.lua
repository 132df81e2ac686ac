-- A sender's own name for a message: what it was answered with, where the conversation is; and in which
-- conversation that was, where the sender is.

local function sent_key(owner, from, client_id)
  return prefix .. 'sent:' .. owner .. ' ' .. from .. ',' .. client_id
end

local function claimed_key(from, client_id) return prefix .. 'claimed:' .. from .. ',' .. client_id end
