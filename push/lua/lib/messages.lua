-- Messages of a conversation. `owner` names it: conversation:<owner> has the last seq, the first that is
-- kept and when the last message came (us); history:<owner> has the messages under <seq>-0; recalled:<owner>
-- who sent those that were recalled; positions:<owner> "<delivered> <read>" of each user.
local function conversation_key(owner) return prefix .. 'conversation:' .. owner end
local function history_key(owner) return prefix .. 'history:' .. owner end
local function recalled_key(owner) return prefix .. 'recalled:' .. owner end
local function positions_key(owner) return prefix .. 'positions:' .. owner end

local UNKNOWN_MESSAGE = 'there is no such message, or it is kept no longer'

-- The two of a conversation of two, nil for a group.
local function peers_of(owner)
  return string.match(owner, '^chat:(.+),(.+)$')
end

-- The group and who acts in it, or two nils and a refusal; of a conversation of two just {}.
local function open(owner, by, action)
  if peers_of(owner) then return {}, {joined_seq = 0} end
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

-- {seq, first} of a conversation; {0, 1} when nobody has said anything.
local function bounds_of(owner)
  local kept = redis.call('HMGET', conversation_key(owner), 'seq', 'first')
  return {seq = tonumber(kept[1] or '0'), first = tonumber(kept[2] or '1')}
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

-- Before `first` nothing is kept any more.
local function trim_history(owner, first, bounds)
  redis.call('XTRIM', history_key(owner), 'MINID', str(first) .. '-0')
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
