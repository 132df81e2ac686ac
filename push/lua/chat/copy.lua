-- A message of a conversation of two comes into a user's stream, from the history on another server: only
-- the next one (architecture, rule 13). Request: user, owner, seq, to, message (f, i, t, b as the history has
-- it) unless it was recalled meanwhile (which an errand that was faster may know better), `begin` (the
-- first seq that is for this user) and `back`.
-- Returns the last seq that was copied, and 1 if this message is a new one under a seq of before: the
-- other server was killed and had not all of its last writes on the disk. Whoever asks then goes `back`
-- to the last message that is still the one that was copied; on from there it is copied anew.
local user, seq, message = request.user, request.seq, request.message
local conversation, ts = conversation_with(request.owner, user), message and message.t or '0'
local ended = tonumber(redis.call('GET', ended_copy_key(user, conversation)) or '0')
if seq <= ended then return done(str(ended), 0) end
local kept = redis.call('HGET', prefix .. 'copied:' .. user, conversation) or '0'
local copied, last_ts = tonumber(string.match(kept, '^%d+')), tonumber(string.match(kept, ' (%d+)$') or '0')
copied = math.max(copied, request.begin - 1)
if seq <= copied then
  if last_ts > 0 and tonumber(ts) > last_ts then return done(str(copied), 1) end
  if request.back then
    redis.call('HSET', prefix .. 'copied:' .. user, conversation, str(seq) .. ' ' .. str(last_ts))
    return done(str(seq), 0)
  end
end
if seq ~= copied + 1 then return done(str(copied), 0) end
note_conversation(user, conversation, seq, message and ts or str(last_ts))
if message and redis.call('EXISTS', recalled_copy_key(user, message.i)) == 0 then
  local offset, stream = next_offset(), 'user:' .. user
  begin_record(message.i, request.to, offset, request.ttl, {stream})
  local body = chat_body(message.i, conversation, message.f, seq, message.b)
  -- It was said when its conversation's server took it, and all who have it say the same.
  post_push(stream, message.i, '{"ts":' .. message.t .. ',' .. string.sub(body, 2), nil, offset)
end
return done(str(seq), 0)
