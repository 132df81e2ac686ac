-- A sender's own name for a message is free again.
-- uses: for_user, client_ids

function WORK.unclaim(user, client_id) redis.call('DEL', claimed_key(user, client_id)) end

-- Forget what the sender called a message of the history. In its tail, names are before the data.
local function forget_client_id(owner, from, tail)
  local data = string.find(tail, ',"data":', 1, true)
  local client_id = string.match(string.sub(tail, 1, data or 0), '"client_id":"([^"]+)"')
  if not client_id then return end
  redis.call('DEL', sent_key(owner, from, client_id))
  for_user('unclaim', from, client_id)
end
