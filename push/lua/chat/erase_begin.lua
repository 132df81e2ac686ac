-- A user is to be erased. That is kept until it is done, by any daemon.
-- KEYS: clock.
-- ARGV: the request: user.
-- Returns 1, or 0 when there is nothing of the user.
-- uses: request, log, followers, user_streams, conversation_list, work_queue
local user = request.user
local stream = 'user:' .. user
local found = redis.call('ZSCORE', queue_key('erasing'), user)
local lists = { followers_key(stream), user_streams_key(user), conversations_key(user), copied_key(user) }
for _, key in ipairs({ log_key(stream), lost_key(stream), unpack(lists) }) do
  found = found or redis.call('EXISTS', key) == 1
end
if not found then return done(0) end
put_work('erasing', user)
return done(1)
