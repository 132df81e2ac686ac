-- Remove the messages of a user's stream, a part at a time. In the ledger it is dropped for all devices that it
-- waits for.
-- KEYS: clock.
-- ARGV: the request: user, limit.
-- Returns how many entries are left.
-- uses: fields, request, log, withdraw
local stream = 'user:' .. request.user
local log = log_key(stream)
for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', request.limit)) do
  withdraw_entry(stream, entry, DROPPED_ERASED)
end
local left = redis.call('XLEN', log)
if left == 0 then
  delete_if_empty(stream)
  redis.call('DEL', lost_key(stream))
end
return done(left)
