-- A sender's own name for a message, where senders and conversations are on several servers.
-- KEYS: clock.
-- ARGV: the request: from, client_id, owner, id, seconds (for which it is kept), rate, and `release` if the
-- message was refused.
-- Returns id and owner of the message that has the name: this one, or what came first.
-- uses: request, rate, client_ids
local limited = rate_refusal()
if limited then return limited end
local key = claimed_key(request.from, request.client_id)
local kept = redis.call('HMGET', key, 'id', 'owner')
if request.release then
  if kept[1] == request.id then redis.call('DEL', key) end
  return done(request.id, request.owner)
end
if not kept[1] then
  kept = { request.id, request.owner }
  redis.call('HSET', key, 'id', kept[1], 'owner', kept[2])
end
if kept[1] == request.id then redis.call('EXPIRE', key, request.seconds) end
return done(kept[1], kept[2])
