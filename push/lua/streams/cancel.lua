-- Take a message out of the logs in which it still is. ARGV: id, then per stream: stream, channel.
-- Returns {known (1|0), for how many devices it was cancelled}. Connectors hear it on the channels.
-- The message has one offset on this server; in a stream that came from another (resharding) it may
-- have one of its own.
local id = ARGV[1]
local offset = redis.call('HGET', message_key(id), 'o')
if not offset then return {0, 0} end
local cancelled = 0
if offset ~= '0' then
  for i = 2, #ARGV, 2 do
    local stream = ARGV[i]
    local at = redis.call('HGET', message_key(id), 'o:' .. stream) or offset
    local entry = redis.call('XRANGE', prefix .. 'log:' .. stream, at, at)[1]
    if entry and entry[2][2] == id then
      cancelled = cancelled + take_out(stream, entry, 'c')
      delete_if_empty(stream)
      announce(ARGV[i + 1], '0', 0, 0, id, 'x', '', at)
    end
  end
end
return {1, cancelled}
