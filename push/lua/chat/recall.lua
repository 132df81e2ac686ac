-- A message is recalled: its content is gone from the history, and from the streams for those who have
-- not read it.
-- KEYS: clock.
-- ARGV: the request: owner, by, seq, recall_ms, history_before_join, and id for what is told.
-- Returns nothing more.
-- uses: request, conversation, access, first_seq, permissions, history, recall, take_back, push
-- uses: user_recall
local owner, by, seq = request.owner, request.by, request.seq
local group, actor, refusal, bounds = open_to_read(owner, by)
if refusal then return refusal end

local function unknown_message()
  return refuse('unknown_message', 'there is no such message, or it is kept no longer', 'seq')
end

if seq < first_for(group, actor, bounds) or seq > bounds.seq then return unknown_message() end
if redis.call('HEXISTS', recalled_key(owner), str(seq)) == 1 then return done() end
local message = read_history(owner, seq, seq)[1]
if not message then return unknown_message() end
if by ~= '' then
  if message.from ~= by then
    if group.id then
      refusal = may('recall_others', group, actor)
    else
      refusal = refuse('not_allowed', 'only its sender recalls a message')
    end
    if refusal then return refusal end
  end
  if now / 1000 - tonumber(message.ts) > request.recall_ms then
    return refuse('recall_expired', 'a message can be recalled for ' .. request.recall_ms / 1000 .. ' s')
  end
end

recall_kept(owner, seq, message.from)

local function content_for(conversation) return recall_content(request.id, conversation, seq, by) end

if group.id then
  take_back(owner, message.id)
  post_push(owner, request.id, content_for(owner))
else
  for _, user in ipairs({ peers_of(owner) }) do
    recall_for_user(user, message.id, request.id, content_for(conversation_with(owner, user)))
  end
end
return done()
