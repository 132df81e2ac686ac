-- Joined calls: what several callers want of one script, see push/redis/joined_calls.py.

-- The replies of `work` for the items, each of which is msgpack, from ARGV[first] on. An item whose caller has
-- given up has {'late'}; one that fails has {'failed', why}, and does not harm the others.
local function replies_of(first, work)
  local replies = {}
  for i = first, #ARGV do
    local item = cmsgpack.unpack(ARGV[i])
    local done, reply = true, { 'late' }
    if now <= deadline - item.waited_us then
      done, reply = pcall(work, item)
    end
    -- What Redis raises is a text, in Redis 7 a table.
    replies[#replies + 1] = done and reply or { 'failed', type(reply) == 'table' and reply.err or reply }
  end
  return replies
end
