-- Which messages a conversation has.
-- uses: conversation, ended_seq

-- {seq, first, begun, erased} of a conversation; `begun` is false when nobody has sent anything.
local function bounds_of(owner)
  local kept = redis.call('HMGET', conversation_key(owner), 'seq', 'first', 'erased')
  if kept[1] then
    return { seq = tonumber(kept[1]), first = tonumber(kept[2] or '1'), begun = true, erased = kept[3] }
  end
  local seq = ended_seq(owner)
  return { seq = seq, first = seq + 1, begun = false }
end

-- After which seq a conversation of two is for this user.
local function joined_seq(owner, user)
  local kept = redis.call('HMGET', conversation_key(owner), 'seq', 'begin', 'begin:' .. user)
  if not kept[1] then return ended_seq(owner) end
  return tonumber(kept[3] or kept[2] or '1') - 1
end

-- A user acts: if one of this name was erased, this is a new one.
local function note_there(owner, bounds, user)
  if bounds.erased == user then redis.call('HDEL', conversation_key(owner), 'erased') end
end
