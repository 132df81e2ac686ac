-- Append a message to each stream's log and announce it on its channel, or only announce it.
-- KEYS: clock.
-- ARGV: id, body, options as msgpack (see push/streams/publisher.py), then per stream: stream, channel, and
-- the key (without prefix) that must be there ('' where none must).
-- Returns {now, offset, id} and per stream how many heard it, -1 where that key is not there. With an
-- idempotency key that came before: the same answer again, or {'mismatch'} for another request.
-- uses: channel, post, addressing
local id, body, options = ARGV[1], ARGV[2], cmsgpack.unpack(ARGV[3])
local ttl, field = options.ttl, options.field

-- The list of servers was changed since this key came: some of its streams may have been written then,
-- as the id that the key had.
local moved = false
if options.idem then
  local kept = redis.call('HMGET', options.idem, 'digest', 'reply', 'id')
  if kept[1] and kept[1] ~= options.digest then return { 'mismatch' } end
  if kept[2] then return cmsgpack.unpack(kept[2]) end
  if kept[1] then
    moved = true
    local first, last = string.find(body, id, 1, true)
    if first then body = string.sub(body, 1, first - 1) .. kept[3] .. string.sub(body, last + 1) end
    id = kept[3]
  end
end

local offset = options.stored and next_offset() or 0
local reply = { str(now), str(offset), id }
local addressed, known = {}, false

for i = 4, #ARGV, 3 do
  local stream, channel, guard = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local before = moved and redis.call('HGET', options.idem, 's:' .. stream)
  if before then
    reply[#reply + 1] = tonumber(before)
    known = known or before ~= '-1'
  elseif guard ~= '' and redis.call('EXISTS', prefix .. guard) == 0 then
    reply[#reply + 1] = -1
  else
    addressed[#addressed + 1] = stream
    reply[#reply + 1] = options.stored
        and post(stream, channel, offset, ttl, id, field, body, options, options.collapse)
      or announce(channel, '0', offset, ttl, id, field, body, '0', options.trace)
  end
end

if options.to and #addressed > 0 then begin_record(id, options.to, offset, ttl, addressed, options.trace) end
if options.idem and (known or #addressed > 0) then
  redis.call('HSET', options.idem, 'digest', options.digest, 'reply', cmsgpack.pack(reply))
  redis.call('EXPIRE', options.idem, DAY_SECONDS)
end
return reply
