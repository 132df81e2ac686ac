-- Remove a message from the logs in which it still is. Connectors are notified on the channels.
-- The message has one offset on this server; in a stream that came from another (resharding) it may
-- have one of its own.
-- KEYS: clock.
-- ARGV: id, then the streams.
-- Returns {known (1|0), for how many devices it was cancelled}.
-- uses: fields, log, ledger, withdraw
local id = ARGV[1]
local offset = redis.call('HGET', message_key(id), LEDGER_OFFSET)
if not offset then return { 0, 0 } end
local cancelled = 0
if offset ~= '0' then
  for i = 2, #ARGV do
    local stream = ARGV[i]
    local own_offset = redis.call('HGET', message_key(id), LEDGER_OFFSET_IN .. stream)
    local entry = find_entry(stream, id, own_offset or offset)
    if entry then
      cancelled = cancelled + withdraw_entry(stream, entry, CANCELLED)
      delete_if_empty(stream)
    end
  end
end
return { 1, cancelled }
