-- Append messages to the logs of their streams and announce them on the channels, or only announce them.
-- KEYS: clock.
-- ARGV: how many entries the log of a device may have, and a log that many follow; then each message as
-- msgpack (`PublishedItem` in push/streams/publisher.py).
-- Returns for each message {now, offset, id} and per stream how many heard it, -1 where the key that must be there
-- is not. With an idempotency key that came before: the same answer again, or {'mismatch'} for another request.
-- {'late'} for a message whose caller has given up; {'failed', why} for one that harms no other.
-- uses: channel, post, addressing
local FIRST_MESSAGE = 3
local max_backlog, max_shared = tonumber(ARGV[1]), tonumber(ARGV[2])

-- The list of servers was changed since this key came: some of its streams may have been written then,
-- as the id that the key had.
local function take_id_of_before(item, id)
  local first, last = string.find(item.body, item.id, 1, true)
  if first then item.body = string.sub(item.body, 1, first - 1) .. id .. string.sub(item.body, last + 1) end
  item.id = id
end

-- `to_come`: how many messages of the call are behind it.
local function publish(message, to_come)
  local item = cmsgpack.unpack(message)
  if now > deadline - item.waited_us then return { 'late' } end
  local moved = false
  if item.idem then
    local kept = redis.call('HMGET', item.idem, 'digest', 'reply', 'id')
    if kept[1] and kept[1] ~= item.digest then return { 'mismatch' } end
    if kept[2] then return cmsgpack.unpack(kept[2]) end
    if kept[1] then
      moved = true
      take_id_of_before(item, kept[3])
    end
  end

  item.max_backlog, item.max_shared = max_backlog, max_shared
  local id, ttl = item.id, item.ttl_seconds
  local offset = item.stored and next_offset(to_come) or 0
  local reply = { str(now), str(offset), id }
  local addressed, known = {}, false

  for i = 1, #item.streams, 2 do
    local stream, guard = item.streams[i], item.streams[i + 1]
    local before = moved and redis.call('HGET', item.idem, 's:' .. stream)
    if before then
      reply[#reply + 1] = tonumber(before)
      known = known or before ~= '-1'
    elseif guard ~= '' and redis.call('EXISTS', prefix .. guard) == 0 then
      reply[#reply + 1] = -1
    else
      addressed[#addressed + 1] = stream
      local channel = channel_of(stream)
      reply[#reply + 1] = item.stored
          and post(stream, channel, offset, ttl, id, item.field, item.body, item, item.collapse)
        or announce(channel, '0', offset, ttl, id, item.field, item.body, '0', item.trace)
    end
  end

  if item.to and #addressed > 0 then begin_record(id, item.to, offset, ttl, addressed, item.trace) end
  if item.idem and (known or #addressed > 0) then
    redis.call('HSET', item.idem, 'digest', item.digest, 'reply', cmsgpack.pack(reply))
    redis.call('EXPIRE', item.idem, DAY_SECONDS)
  end
  return reply
end

local replies = {}
for i = FIRST_MESSAGE, #ARGV do
  local done, reply = pcall(publish, ARGV[i], #ARGV - i)
  -- What Redis raises is a text, in Redis 7 a table.
  replies[#replies + 1] = done and reply or { 'failed', type(reply) == 'table' and reply.err or reply }
end
return replies
