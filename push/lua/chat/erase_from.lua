-- A user of a conversation of two is erased, a part at a time. Their messages are recalled and their own
-- names for them free; when the other one is erased already, the conversation goes. (Somebody new may be
-- there under the other's name: they are told of what came since then.) Request: owner, user, after (where
-- the part before ended, '' at first), limit, and id for what the other one is told. Returns where to go on,
-- '' when all is done. It may be done again from the beginning.
local owner, user = request.owner, request.user
local bounds = bounds_of(owner)
local one, other = peers_of(owner)
local peer = user == one and other or one
if not bounds.begun then
  for_user('forget', user, conversation_with(owner, user), str(bounds.seq))
  return done('')
end
local both = bounds.erased == peer
if not both then
  redis.call('HSET', conversation_key(owner), 'erased', user, 'begin:' .. user, str(bounds.seq + 1))
  redis.call('HDEL', positions_key(owner), user)
end

local first = joined_seq(owner, peer) + 1
local begin = request.after == '' and '-' or '(' .. request.after
local page = redis.call('XRANGE', history_key(owner), begin, '+', 'COUNT', request.limit)
for _, entry in ipairs(page) do
  local seq, from, message = tonumber(string.match(entry[1], '^%d+')), entry[2][2], entry[2][4]
  if both or from == user then forget_client_id(owner, from, entry[2][8]) end
  if from == user and not both then recall_kept(owner, seq, user) end
  if from == user and seq >= first then
    local id = request.id .. '-' .. str(seq)
    for_user('recall', peer, message, id, recall_body(id, conversation_with(owner, peer), seq, ''))
  end
end
if #page > 0 and both then
  trim_history(owner, tonumber(string.match(page[#page][1], '^%d+')) + 1, bounds)
end
if #page == request.limit then return done(page[#page][1]) end
if both then
  end_conversation(owner, bounds.seq)
else
  for_user('forget', user, conversation_with(owner, user), str(bounds.seq))
end
return done('')
