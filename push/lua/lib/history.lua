-- The history of a conversation: the messages under <seq>-0. The one place that knows the form of an entry:
-- {f, from, i, id, t, ts in ms, b, tail}; the tail is the rest of the message's JSON, after its seq.
-- uses: conversation

local function keep_message(owner, seq, from, id, ts, tail)
  redis.call('XADD', history_key(owner), str(seq) .. '-0', 'f', from, 'i', id, 't', ts, 'b', tail)
end

local function message_of(entry)
  local fields = entry[2]
  local seq = string.match(entry[1], '^%d+')
  return { seq = seq, from = fields[2], id = fields[4], ts = fields[6], tail = fields[8] }
end

local function messages_of(entries)
  for i, entry in ipairs(entries) do
    entries[i] = message_of(entry)
  end
  return entries
end

-- The messages from `first` to `last`, in order.
local function read_history(owner, first, last)
  return messages_of(redis.call('XRANGE', history_key(owner), str(first) .. '-0', str(last) .. '-0'))
end

-- At most `limit` of those after `seq` ('' = from the beginning), in order.
local function next_messages(owner, seq, limit)
  local begin = seq == '' and '-' or '(' .. seq .. '-0'
  return messages_of(redis.call('XRANGE', history_key(owner), begin, '+', 'COUNT', limit))
end

-- At most `limit` of those before `seq` ('' = from the end), the last one first.
local function messages_before(owner, seq, limit)
  local begin = seq == '' and '+' or '(' .. seq .. '-0'
  return messages_of(redis.call('XREVRANGE', history_key(owner), begin, '-', 'COUNT', limit))
end
