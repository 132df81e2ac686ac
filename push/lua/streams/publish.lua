-- Append messages to the logs of their streams and announce them on the channels, or only announce them.
-- KEYS: clock.
-- ARGV: how many entries the log of a device may have, and a log that many follow; then each message as
-- msgpack (`StreamMessage` in push/streams/publisher.py).
-- Returns for each message {now, offset, id} and per stream how many got it, -1 where the key that must be there
-- is not. With an idempotency key that came before: the same answer again, or {'mismatch'} for another request.
-- {'late'} for a message whose caller has given up; {'failed', why} for one that harms no other.
-- uses: packed, channel, post, addressing, idempotency
local FIRST_MESSAGE = 3
-- For all messages of the call, see `post`.
local keep = { max_backlog = tonumber(ARGV[1]), max_shared = tonumber(ARGV[2]) }

-- The list of servers was changed since this key came: some of its streams may have been written then,
-- as the id `before` that the key had. Returns the content with that id.
local function with_id(content, id, before)
  local first, last = string.find(content, id, 1, true)
  return first and string.sub(content, 1, first - 1) .. before .. string.sub(content, last + 1) or content
end

-- `to_come`: how many messages of the call are after it.
local function publish(item, to_come)
  -- Its 13 values, which come after one byte that says so: no table is made of them.
  local _, waited_us, id, content, ttl, field, streams, guard, stored, to, collapse, trace, idem, digest =
    cmsgpack.unpack_limit(item, 13, 1)
  if now > deadline - waited_us then return { 'late' } end
  local moved = false
  if idem then
    local kept = redis.call('HMGET', idem, 'digest', 'reply', 'id')
    if kept[1] and kept[1] ~= digest then return { 'mismatch' } end
    if kept[2] then return cmsgpack.unpack(kept[2]) end
    if kept[1] then
      moved = true
      id, content = kept[3], with_id(content, id, kept[3])
    end
  end

  keep.trace = trace
  local at = stored and next_offset(to_come) or 0
  local offset, reply = offset_text(at), { now, at, id, false }
  local addressed, known = {}, false

  for i = 1, #streams do
    local stream = streams[i]
    local before = moved and redis.call('HGET', idem, 's:' .. stream)
    local connectors = -1
    if before then
      connectors = tonumber(before)
      known = known or before ~= '-1'
    elseif not guard or redis.call('EXISTS', prefix .. guard .. string.match(stream, ':(.*)')) == 1 then
      addressed[#addressed + 1] = stream
      connectors = stored and post(stream, offset, ttl, id, field, content, keep, collapse)
        or announce(stream, '0', offset, ttl, id, field, content, '0', trace)
    end
    reply[i + 3] = connectors
  end

  if to and #addressed > 0 then begin_record(id, to, offset, ttl, addressed, trace, not idem) end
  if idem and (known or #addressed > 0) then
    redis.call('HSET', idem, 'digest', digest, 'reply', cmsgpack.pack(reply))
    redis.call('EXPIRE', idem, IDEMPOTENCY_KEY_SECONDS)
  end
  return reply
end

local replies = {}
for i = FIRST_MESSAGE, #ARGV do
  local done, reply = pcall(publish, ARGV[i], #ARGV - i)
  -- What Redis raises is a text, in Redis 7 a table.
  replies[#replies + 1] = done and reply or { 'failed', type(reply) == 'table' and reply.err or reply }
end
return packed(replies)
