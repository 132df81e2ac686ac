-- Messages of a conversation. Request: owner, by, after or before (seq), limit, max_bytes,
-- history_before_join. Returns messages, behind `after` in order, else in the reverse order, as
-- {seq, from, id, ts, tail} or, recalled, {seq, from}; and 1 if there are more in that direction.
local owner, after = request.owner, request.after
local group, actor, refusal = open(owner, request.by, 'see')
if refusal then return refusal end
local bounds = bounds_of(owner)
local low, high = first_for(group, actor, bounds), bounds.seq
if after then low = math.max(low, after + 1) end
if request.before then high = math.min(high, request.before - 1) end

local PART = 20
local found, bytes, full = {}, 0, false

local function take(seq, entry)
  if #found >= request.limit or bytes >= request.max_bytes then
    full = true
  elseif entry then
    found[#found + 1] = {str(seq), entry[2], entry[4], entry[6], entry[8]}
    bytes = bytes + #entry[8]
  else
    local from = redis.call('HGET', recalled_key(owner), str(seq))
    if from then found[#found + 1] = {str(seq), from} end
  end
end

local step = after and 1 or -1
local seq = after and low or high
while not full and seq >= low and seq <= high do
  local last = math.max(low, math.min(high, seq + step * (PART - 1)))
  local page = redis.call('XRANGE', history_key(owner), str(math.min(seq, last)) .. '-0',
    str(math.max(seq, last)) .. '-0')
  local by_seq = {}
  for _, entry in ipairs(page) do by_seq[string.match(entry[1], '^%d+')] = entry[2] end
  for each = seq, last, step do
    take(each, by_seq[str(each)])
    if full then break end
  end
  seq = last + step
end
return done(found, full and 1 or 0)
