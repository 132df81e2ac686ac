-- A message of a conversation of two comes into a user's stream, from the history on another server: only
-- the next one (design, rule 13). Request: user, owner, seq, to, and message (f, i, t, b as the history
-- has it) unless it was recalled meanwhile (which an errand that
-- was faster may know better). Returns the last seq that was copied.
local user, seq, message = request.user, request.seq, request.message
local conversation = conversation_with(request.owner, user)
local copied = tonumber(redis.call('HGET', prefix .. 'copied:' .. user, conversation) or '0')
if seq ~= copied + 1 then return done(str(copied)) end
note_conversation(user, conversation, seq)
if message and redis.call('EXISTS', recalled_copy_key(user, message.i)) == 0 then
  local offset, stream = next_offset(), 'user:' .. user
  begin_record(message.i, request.to, offset, request.ttl, {stream})
  local body = chat_body(message.i, conversation, message.f, seq, message.b)
  -- It was said when its conversation's server took it, and all who have it say the same.
  post_push(stream, message.i, '{"ts":' .. message.t .. ',' .. string.sub(body, 2), nil, offset)
end
return done(str(seq))
