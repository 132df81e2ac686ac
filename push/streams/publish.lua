-- Append a message to each stream's log and announce it on its channel, or only announce it.
-- ARGV: id, body, options as msgpack (see publish.py), then per stream: stream, channel, and the key
-- (without prefix) that must be there ('' where none must).
-- Returns {now, offset, id} and per stream how many heard it, -1 where that key is not there. With an
-- idempotency key that came before: the same answer again, or {'mismatch'} for another request.
local id, body, options = ARGV[1], ARGV[2], cmsgpack.unpack(ARGV[3])
local ttl, field = options.ttl, options.field

if options.idem then
  local kept = redis.call('HMGET', options.idem, 'digest', 'reply')
  if kept[1] == options.digest then return cmsgpack.unpack(kept[2]) end
  if kept[1] then return {'mismatch'} end
end

local offset = 0
if options.stored then
  offset = next_offset()
end
local reply = {str(now), str(offset), id}
local addressed = {}

for i = 4, #ARGV, 3 do
  local stream, channel, guard = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if guard ~= '' and redis.call('EXISTS', prefix .. guard) == 0 then
    reply[#reply + 1] = -1
  else
    addressed[#addressed + 1] = stream
    reply[#reply + 1] = options.stored
      and post(stream, channel, offset, ttl, id, field, body, options, options.collapse)
      or announce(channel, '0', offset, ttl, id, field, body, '0')
  end
end

if options.to and #addressed > 0 then
  begin_record(id, options.to, offset, ttl, addressed)
end
if options.idem and #addressed > 0 then
  redis.call('HSET', options.idem, 'digest', options.digest, 'reply', cmsgpack.pack(reply))
  redis.call('EXPIRE', options.idem, 86400)
end
return reply
