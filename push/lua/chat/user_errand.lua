-- Do for a user what a script of another server has written down. Request: kind, user, version,
-- arguments. What comes late does nothing to what the user follows: what was done last is kept, as
-- "<version> <kind> <detail>". Of those kinds returns what was done last, and the user's devices, which are
-- to follow or not as that says: who did it may have been killed before they all did.
local kind, user, arguments = request.kind, request.user, request.arguments
if kind == 'follow' or kind == 'unfollow' then
  local key, stream = prefix .. 'user-stream-versions:' .. user, arguments[1]
  local last = redis.call('HGET', key, stream) or '0'
  if tonumber(string.match(last, '^%d+')) > tonumber(request.version) then
    return done(last, redis.call('SMEMBERS', prefix .. 'user-devices:' .. user))
  end
  last = request.version .. ' ' .. kind .. ' ' .. arguments[2]
  redis.call('HSET', key, stream, last)
  return done(last, WORK[kind](user, unpack(arguments)))
end
WORK[kind](user, unpack(arguments))
return done()
