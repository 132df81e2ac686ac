-- A message is recalled: its content is gone from the history, and from the streams for those who have
-- not read it. Request: owner, by, seq, recall_ms, history_before_join, and id for what is told.
local owner, by, seq = request.owner, request.by, request.seq
local group, actor, refusal = open(owner, by, 'see')
if refusal then return refusal end
local bounds = bounds_of(owner)
if seq < first_for(group, actor, bounds) or seq > bounds.seq then return refuse('unknown_message', UNKNOWN_MESSAGE, 'seq') end
if redis.call('HEXISTS', recalled_key(owner), str(seq)) == 1 then return done() end
local entry = redis.call('XRANGE', history_key(owner), str(seq) .. '-0', str(seq) .. '-0')[1]
if not entry then return refuse('unknown_message', UNKNOWN_MESSAGE, 'seq') end
local from, message, ts = entry[2][2], entry[2][4], tonumber(entry[2][6])
if by ~= '' then
  if from ~= by then
    refusal = group.id and may('recall_others', group, actor)
      or not group.id and refuse('not_allowed', 'only its sender recalls a message')
    if refusal then return refusal end
  end
  if now / 1000 - ts > request.recall_ms then
    return refuse('recall_expired', 'a message can be recalled for ' .. request.recall_ms / 1000 .. ' s')
  end
end

recall_kept(owner, seq, from)

local function body_for(conversation)
  return recall_body(request.id, conversation, seq, by)
end

if group.id then
  take_back(owner, message)
  post_push(owner, request.id, body_for(owner))
else
  for _, user in ipairs({peers_of(owner)}) do
    for_user('recall', user, message, request.id, body_for(conversation_with(owner, user)))
  end
end
return done()
