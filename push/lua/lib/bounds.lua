-- Which messages a conversation has.
-- uses: conversation, ended_seq

-- {seq, first, begun, erased, at} of a conversation; `begun` is false when nobody has sent anything, `at` is when
-- the last message came, nil if none did. Of one of two also `joined`: after which seq it is for `user`.
local function bounds_of(owner, user)
  local of_user = 'begin:' .. (user or '')
  local kept = redis.call('HMGET', conversation_key(owner), 'seq', 'first', 'erased', 'at', 'begin', of_user)
  if not kept[1] then
    local seq = ended_seq(owner)
    return { seq = seq, first = seq + 1, begun = false, joined = seq }
  end
  return {
    seq = tonumber(kept[1]),
    first = tonumber(kept[2] or '1'),
    begun = true,
    erased = kept[3],
    at = kept[4] or nil,
    joined = tonumber(kept[6] or kept[5] or '1') - 1,
  }
end

-- A user acts: if one of this name was erased, this is a new one.
local function note_there(owner, bounds, user)
  if bounds.erased == user then redis.call('HDEL', conversation_key(owner), 'erased') end
end
