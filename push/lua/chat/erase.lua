-- Take out what a user's stream keeps, a part at a time. Request: user, limit. Returns how many entries are
-- left. In the ledger it is dropped for whoever it waits for.
local stream = 'user:' .. request.user
local log = prefix .. 'log:' .. stream
local page = redis.call('XRANGE', log, '-', '+', 'COUNT', request.limit)
for _, entry in ipairs(page) do
  take_out(stream, entry, 'd:erased')
  announce(channel_of(stream), '0', 0, 0, entry[2][2], 'x', '', string.match(entry[1], '^%d+'))
end
local left = redis.call('XLEN', log)
if left == 0 then
  delete_if_empty(stream)
  redis.call('DEL', prefix .. 'lost:' .. stream)
end
return done(left)
