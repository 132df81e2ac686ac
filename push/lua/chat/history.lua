-- Messages of a conversation.
-- KEYS: clock.
-- ARGV: the request: owner, by, after or before (seq), limit, max_bytes, history_before_join.
-- Returns messages, after `after` in order, else in the reverse order, as {seq, from, id, ts, tail} or,
-- recalled, {seq, from}; and 1 if there are more in that direction.
-- uses: packed, request, conversation, access, first_seq, history
local owner, after = request.owner, request.after
local group, actor, refusal, bounds = open_to_read(owner, request.by)
if refusal then return packed(refusal) end
local low, high = first_for(group, actor, bounds), bounds.seq
if after then low = math.max(low, after + 1) end
if request.before then high = math.min(high, request.before - 1) end

local PART = 20
local found, bytes, full = {}, 0, false

local function take(seq, message)
  if #found >= request.limit or bytes >= request.max_bytes then
    full = true
  elseif message then
    found[#found + 1] = { str(seq), message.from, message.id, message.ts, message.tail }
    bytes = bytes + #message.tail
  else
    local from = redis.call('HGET', recalled_key(owner), str(seq))
    if from then found[#found + 1] = { str(seq), from } end
  end
end

local step = after and 1 or -1
local seq = after and low or high
while not full and seq >= low and seq <= high do
  local last = math.max(low, math.min(high, seq + step * (PART - 1)))
  local by_seq = {}
  for _, message in ipairs(read_history(owner, math.min(seq, last), math.max(seq, last))) do
    by_seq[message.seq] = message
  end
  for each = seq, last, step do
    take(each, by_seq[str(each)])
    if full then break end
  end
  seq = last + step
end
return packed(done(found, full and 1 or 0))
