-- What a user's list of conversations shows. Request: by, owners; details (bool), max_bytes,
-- history_before_join. Returns for each the time of its last message, '' where the user is no member; or,
-- with details, {seq, delivered, read, unread, message} with the last message as in history.lua ({} where
-- there is none), until there are `max_bytes`.
local found, bytes = {}, 0

local function last_message(owner, seq, first)
  if seq < first then return {} end
  local entry = redis.call('XRANGE', history_key(owner), str(seq) .. '-0', str(seq) .. '-0')[1]
  if entry then
    local fields = entry[2]
    bytes = bytes + #fields[8]
    return {str(seq), fields[2], fields[4], fields[6], fields[8]}
  end
  local from = redis.call('HGET', recalled_key(owner), str(seq))
  return from and {str(seq), from} or {}
end

for i, owner in ipairs(request.owners) do
  local group, actor, refusal = open(owner, request.by, 'see')
  if not request.details then
    found[i] = refusal and '' or redis.call('HGET', conversation_key(owner), 'at') or ''
  elseif bytes >= request.max_bytes then
    break
  elseif refusal then
    found[i] = {}
  else
    local bounds = bounds_of(owner)
    local positions = positions_of(owner, request.by, actor.joined_seq)
    local first = first_for(group, actor, bounds)
    found[i] = {str(bounds.seq), str(positions.delivered), str(positions.read),
      str(bounds.seq - positions.read), last_message(owner, bounds.seq, first)}
  end
end
return done(found)
