-- Messages of a conversation. `owner` names it: conversation:<owner> has the last seq, the first that is
-- kept and when the last message came (us); history:<owner> has the messages under <seq>-0; recalled:<owner>
-- who sent those that were recalled; positions:<owner> "<delivered> <read>" of each user.
-- A conversation of two may also have `begin`, its first seq if that was not 1; `begin:<user>`, the first
-- seq that is for a user who was erased and may be there anew; `erased`, which of the two is erased.
local function conversation_key(owner) return prefix .. 'conversation:' .. owner end
local function history_key(owner) return prefix .. 'history:' .. owner end
local function recalled_key(owner) return prefix .. 'recalled:' .. owner end
local function positions_key(owner) return prefix .. 'positions:' .. owner end

local UNKNOWN_MESSAGE = 'there is no such message, or it is kept no longer'

-- The two of a conversation of two, nil for a group.
local function peers_of(owner)
  return string.match(owner, '^chat:(.+),(.+)$')
end

-- Conversations of two that ended leave nothing but how far their seqs had come: the highest of all whose
-- names have the same three digits of a hash, so that this is finite. One that begins anew goes on behind
-- that: no seq, which a client may still remember, comes a second time.
local function ended_seq_field(owner) return string.sub(redis.sha1hex(owner), 1, 3) end

local function ended_seq(owner)
  return tonumber(redis.call('HGET', prefix .. 'ended-seqs', ended_seq_field(owner)) or '0')
end

-- {seq, first, begun, erased} of a conversation; `begun` is false when nobody has said anything.
local function bounds_of(owner)
  local kept = redis.call('HMGET', conversation_key(owner), 'seq', 'first', 'erased')
  if kept[1] then
    return {seq = tonumber(kept[1]), first = tonumber(kept[2] or '1'), begun = true, erased = kept[3]}
  end
  local seq = ended_seq(owner)
  return {seq = seq, first = seq + 1, begun = false}
end

-- Behind which seq a conversation of two is for this user.
local function joined_seq(owner, user)
  local kept = redis.call('HMGET', conversation_key(owner), 'seq', 'begin', 'begin:' .. user)
  if not kept[1] then return ended_seq(owner) end
  return tonumber(kept[3] or kept[2] or '1') - 1
end

-- The group and who acts in it, or two nils and a refusal; of a conversation of two just {}.
local function open(owner, by, action)
  if peers_of(owner) then
    return {}, action == 'send' and {} or {joined_seq = joined_seq(owner, by)}
  end
  local gid = string.sub(owner, 7)
  local group = group_of(gid)
  if not group then return nil, nil, refuse('unknown_group', UNKNOWN_GROUP) end
  local actor = member_of(gid, by)
  local refusal
  if action == 'send' then
    refusal = may_send(group, actor)
  else
    refusal = may('see', group, actor)
  end
  if refusal then return nil, nil, refusal end
  return group, actor
end

-- The first message that somebody may read.
local function first_for(group, actor, bounds)
  if group.id and request.history_before_join then return bounds.first end
  return math.max(bounds.first, actor.joined_seq + 1)
end

-- {delivered, read} of a user. Who joined later has nothing before that to read.
local function positions_of(owner, user, joined_seq)
  local text = redis.call('HGET', positions_key(owner), user) or ''
  local delivered, read = string.match(text, '^(%d+) (%d+)$')
  return {delivered = math.max(tonumber(delivered or '0'), joined_seq),
    read = math.max(tonumber(read or '0'), joined_seq)}
end

local function store_positions(owner, user, positions)
  redis.call('HSET', positions_key(owner), user, str(positions.delivered) .. ' ' .. str(positions.read))
end

-- A message as a PUSH, and its id. `tail` is the rest of its JSON, behind the seq.
local function chat_body(id, conversation, from, seq, tail)
  return '{"id":"' .. id .. '","kind":"chat","conversation":"' .. conversation .. '","from":"' .. from
    .. '","seq":' .. str(seq) .. tail
end

-- A sender's own name for a message: what it was answered with, where the conversation is; and in which
-- conversation that was, where the sender is.
local function sent_key(owner, from, client_id)
  return prefix .. 'sent:' .. owner .. ' ' .. from .. ',' .. client_id
end

local function claimed_key(from, client_id)
  return prefix .. 'claimed:' .. from .. ',' .. client_id
end

-- The other one, as `user` sees it.
local function conversation_with(owner, user)
  local one, other = peers_of(owner)
  return 'user:' .. (user == one and other or one)
end

-- It is in the user's list of conversations, as of now; the message with `seq`, of the time `ts`, came.
local function note_conversation(user, conversation, seq, ts)
  redis.call('ZADD', prefix .. 'conversations:' .. user, str(now), conversation)
  redis.call('HSET', prefix .. 'copied:' .. user, conversation, str(seq) .. ' ' .. ts)
end

-- A user acts: if one of this name was erased, they are there anew.
local function note_there(owner, bounds, user)
  if bounds.erased == user then redis.call('HDEL', conversation_key(owner), 'erased') end
end

-- What a conversation of two has to remember with a message of `from`, before which it was as `bounds`.
local function keep_begin(owner, bounds, from)
  if not bounds.begun and bounds.seq > 0 then
    redis.call('HSET', conversation_key(owner), 'begin', str(bounds.first))
  end
  note_there(owner, bounds, from)
end

-- Behind which seq there are no copies of a conversation that ended: what is copied late is not.
local function ended_copy_key(user, conversation)
  return prefix .. 'ended-copy:' .. user .. ',' .. conversation
end

-- The conversation ended for the user with the message `seq`.
function WORK.forget(user, conversation, seq)
  local kept = redis.call('HGET', prefix .. 'copied:' .. user, conversation)
  if kept and tonumber(string.match(kept, '^%d+')) > tonumber(seq) then return end -- it began anew
  redis.call('ZREM', prefix .. 'conversations:' .. user, conversation)
  redis.call('HDEL', prefix .. 'copied:' .. user, conversation)
  if not request.alone then
    redis.call('SET', ended_copy_key(user, conversation), seq, 'EX', DAY_SECONDS)
  end
end

-- A sender's own name for a message is free again.
function WORK.unclaim(user, client_id)
  redis.call('DEL', claimed_key(user, client_id))
end

-- Forget what the sender called a message of the history. In its tail, names stand before the data.
local function forget_client_id(owner, from, tail)
  local data = string.find(tail, ',"data":', 1, true)
  local client_id = string.match(string.sub(tail, 1, data or 0), '"client_id":"([^"]+)"')
  if not client_id then return end
  redis.call('DEL', sent_key(owner, from, client_id))
  for_user('unclaim', from, client_id)
end

-- A message of the history is recalled: what is left is its seq and who sent it.
local function recall_kept(owner, seq, from)
  redis.call('XDEL', history_key(owner), str(seq) .. '-0')
  redis.call('HSET', recalled_key(owner), str(seq), from)
end

-- A PUSH that says so. `by`: '' is the backend.
local function recall_body(id, conversation, seq, by)
  return '{"id":"' .. id .. '","kind":"recall","conversation":"' .. conversation .. '","seq":' .. str(seq)
    .. ',"by":' .. (by == '' and 'null' or '"' .. by .. '"') .. ',"data":null}'
end

-- A conversation of two goes, for both. `seq` is its last.
local function end_conversation(owner, seq)
  if seq > ended_seq(owner) then
    redis.call('HSET', prefix .. 'ended-seqs', ended_seq_field(owner), str(seq))
  end
  redis.call('DEL', conversation_key(owner), history_key(owner), recalled_key(owner),
    positions_key(owner))
  redis.call('ZREM', prefix .. 'histories', owner)
  for _, user in ipairs({peers_of(owner)}) do
    for_user('forget', user, conversation_with(owner, user), str(seq))
  end
end

-- Before `first` nothing is kept any more.
local function trim_history(owner, first, bounds)
  redis.call('XTRIM', history_key(owner), 'MINID', str(first) .. '-0')
  if redis.call('XLEN', history_key(owner)) == 0 then redis.call('DEL', history_key(owner)) end
  redis.call('HSET', conversation_key(owner), 'first', str(first))
  if first - bounds.first <= 20 then
    for seq = bounds.first, first - 1 do redis.call('HDEL', recalled_key(owner), str(seq)) end
  else
    for _, seq in ipairs(redis.call('HKEYS', recalled_key(owner))) do
      if tonumber(seq) < first then redis.call('HDEL', recalled_key(owner), seq) end
    end
  end
  bounds.first = first
end

-- Let go what is beyond `history_count`; 0 = no limit.
local function keep_count(owner, bounds)
  local first = bounds.seq - request.history_count + 1
  if request.history_count > 0 and first > bounds.first then trim_history(owner, first, bounds) end
end
