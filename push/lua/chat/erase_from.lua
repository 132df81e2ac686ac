-- A user of a conversation of two is erased, a part at a time. Their messages are recalled and their own
-- names for them free; when the other one is erased already, the conversation goes. (Somebody new may be
-- there under the other's name: they are notified of what came since then.) It may be done again from the
-- beginning.
-- KEYS: clock.
-- ARGV: the request: owner, user, after (the seq where the part before ended, '' at first), limit, and id for
-- what the other one is told.
-- Returns where to go on, '' when all is done.
-- uses: request, conversation, bounds, history, trim_history, recall, user_recall, user_forget
-- uses: user_unclaim, end_conversation, activity
local owner, user = request.owner, request.user
local bounds = bounds_of(owner)
local peer = string.match(conversation_with(owner, user), '^user:(.+)$')

local function forget()
  forget_for_user(user, conversation_with(owner, user), bounds.seq)
  return done('')
end

if not bounds.begun then return forget() end
local both = bounds.erased == peer
if not both then
  redis.call('HSET', conversation_key(owner), 'erased', user, 'begin:' .. user, str(bounds.seq + 1))
  redis.call('HDEL', positions_key(owner), user)
  forget_active(owner, user)
end

local first = bounds_of(owner, peer).joined + 1
local page = next_messages(owner, request.after, request.limit)
for _, message in ipairs(page) do
  local seq, from = tonumber(message.seq), message.from
  if both or from == user then forget_client_id(owner, from, message.tail) end
  if from == user and not both then recall_kept(owner, seq, user) end
  if from == user and seq >= first then
    local id = request.id .. '-' .. str(seq)
    local content = recall_content(id, conversation_with(owner, peer), seq, '')
    recall_for_user(peer, message.id, id, content)
  end
end
if #page > 0 and both then trim_history(owner, tonumber(page[#page].seq) + 1, bounds) end
if #page == request.limit then return done(page[#page].seq) end
if not both then return forget() end
end_conversation(owner, bounds.seq)
return done('')
