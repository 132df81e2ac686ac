-- Letting go of the oldest messages of a conversation.
-- uses: request, conversation

-- Before `first` nothing is kept any more.
local function trim_history(owner, first, bounds)
  redis.call('XTRIM', history_key(owner), 'MINID', str(first) .. '-0')
  if redis.call('XLEN', history_key(owner)) == 0 then redis.call('DEL', history_key(owner)) end
  redis.call('HSET', conversation_key(owner), 'first', str(first))
  if first - bounds.first <= 20 then
    for seq = bounds.first, first - 1 do
      redis.call('HDEL', recalled_key(owner), str(seq))
    end
  else
    for _, seq in ipairs(redis.call('HKEYS', recalled_key(owner))) do
      if tonumber(seq) < first then redis.call('HDEL', recalled_key(owner), seq) end
    end
  end
  bounds.first = first
end

-- Let go what is over `history_count`; 0 = no limit.
local function keep_count(owner, bounds)
  local first = bounds.seq - request.history_count + 1
  if request.history_count > 0 and first > bounds.first then trim_history(owner, first, bounds) end
end
