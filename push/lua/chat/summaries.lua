-- What a user's list of conversations shows.
-- KEYS: clock.
-- ARGV: the request: by, owners; details (bool), max_bytes, history_before_join.
-- Returns for each the time of its last message, '' where the user is no member; or, with details, {seq,
-- delivered, read, unread, message} with the last message as in history.lua ({} where there is none), until
-- there are `max_bytes`.
-- uses: packed, request, conversation, access, first_seq, positions, history
local found, bytes = {}, 0

local function last_message(owner, seq, first)
  if seq < first then return {} end
  local message = read_history(owner, seq, seq)[1]
  if message then
    bytes = bytes + #message.tail
    return { str(seq), message.from, message.id, message.ts, message.tail }
  end
  local from = redis.call('HGET', recalled_key(owner), str(seq))
  return from and { str(seq), from } or {}
end

local function summary_of(owner, group, actor, bounds)
  local positions = positions_of(owner, request.by, actor.joined_seq)
  local last = last_message(owner, bounds.seq, first_for(group, actor, bounds))
  local unread = str(bounds.seq - positions.read)
  return { str(bounds.seq), str(positions.delivered), str(positions.read), unread, last }
end

for i, owner in ipairs(request.owners) do
  local group, actor, refusal, bounds = open_to_read(owner, request.by)
  if not request.details then
    found[i] = not refusal and bounds.at or ''
  elseif bytes >= request.max_bytes then
    break
  else
    found[i] = refusal and {} or summary_of(owner, group, actor, bounds)
  end
end
return packed(done(found))
