-- A user's list of conversations, and how far each was copied into their stream: "<seq> <ts>".

local function conversations_key(user) return prefix .. 'conversations:' .. user end

local function copied_key(user) return prefix .. 'copied:' .. user end

-- After which seq there are no copies of a conversation that ended: what is copied late is not.
local function ended_copy_key(user, conversation)
  return prefix .. 'ended-copy:' .. user .. ',' .. conversation
end

-- The message with `seq`, of the time `ts`, is the last that came.
local function note_copied(user, conversation, seq, ts)
  redis.call('HSET', copied_key(user), conversation, str(seq) .. ' ' .. ts)
end

-- It is in the user's list of conversations, as of now.
local function note_conversation(user, conversation, seq, ts)
  redis.call('ZADD', conversations_key(user), str(now), conversation)
  note_copied(user, conversation, seq, ts)
end

-- {seq, ts} of the last message that was copied; zeros when none was.
local function last_copied(user, conversation)
  local kept = redis.call('HGET', copied_key(user), conversation) or '0'
  local seq, ts = string.match(kept, '^(%d+) ?(%d*)$')
  return { seq = tonumber(seq), ts = tonumber(ts) or 0 }
end
