-- Take out what a user's stream keeps, a part at a time. ARGV: user, channel of the stream.
-- Returns {entries taken out, entries left}. In the ledger it is dropped for whoever it waits for.
local stream = 'user:' .. ARGV[1]
local log = prefix .. 'log:' .. stream
local page = redis.call('XRANGE', log, '-', '+', 'COUNT', 200)
for _, entry in ipairs(page) do
  take_out(stream, entry, 'd:erased')
  local offset, id = string.match(entry[1], '^%d+'), entry[2][2]
  announce(ARGV[2], '0', 0, 0, id, 'x', '', offset)
end
local left = redis.call('XLEN', log)
local lost = 0
if left == 0 then
  delete_if_empty(stream)
  lost = redis.call('DEL', prefix .. 'lost:' .. stream)
end
return {#page + lost, left}
