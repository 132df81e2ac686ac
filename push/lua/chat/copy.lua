-- A message of a conversation of two comes into a user's stream, from the history on another server: only
-- the next one (rule 13).
-- KEYS: clock.
-- ARGV: the request: user, owner, seq, to, message (f, i, t, b as the history has it) unless it was recalled
-- meanwhile (which an errand that was faster may know better), `begin` (the first seq that is for this user)
-- and `back`.
-- Returns the last seq that was copied, and 1 if this message is a new one under a seq of before: the
-- other server was killed and had not all of its last writes on the disk. The caller then goes `back`
-- to the last message that is still the one that was copied; from there on it is copied again.
-- uses: request, conversation, conversation_list, recalled_copy, addressing, push, chat_content
local user, seq, message = request.user, request.seq, request.message
local conversation, ts = conversation_with(request.owner, user), message and message.t or '0'
local ended = tonumber(redis.call('GET', ended_copy_key(user, conversation)) or '0')
if seq <= ended then return done(str(ended), 0) end
local last = last_copied(user, conversation)
local copied = math.max(last.seq, request.begin - 1)
if seq <= copied then
  if last.ts > 0 and tonumber(ts) > last.ts then return done(str(copied), 1) end
  if request.back then
    note_copied(user, conversation, seq, str(last.ts))
    return done(str(seq), 0)
  end
end
if seq ~= copied + 1 then return done(str(copied), 0) end
note_conversation(user, conversation, seq, message and ts or str(last.ts))
if message and redis.call('EXISTS', recalled_copy_key(user, message.i)) == 0 then
  local offset, stream = next_offset(), 'user:' .. user
  begin_record(message.i, request.to, offset_text(offset), request.ttl, { stream })
  local content = chat_content(message.i, conversation, message.f, seq, message.b)
  -- It was sent when its conversation's server took it, and all who have it say the same.
  post_push(stream, message.i, '{"ts":' .. message.t .. ',' .. string.sub(content, 2), nil, offset)
end
return done(str(seq), 0)
