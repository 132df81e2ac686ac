-- Let go what the history of a conversation keeps no longer. Request: owner, history_ms, history_count.
-- Returns 1 if there is more to do.
local owner = request.owner
local more = keep_history(owner, bounds_of(owner))
if not more then
  local entry = redis.call('XRANGE', history_key(owner), '-', '+', 'COUNT', 1)[1]
  if entry and request.history_ms > 0 then
    redis.call('ZADD', prefix .. 'histories', str(tonumber(entry[2][6]) + request.history_ms), owner)
  else
    redis.call('ZREM', prefix .. 'histories', owner)
  end
end
return done(more and 1 or 0)
