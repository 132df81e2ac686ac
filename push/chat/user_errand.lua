-- Do for a user what a script of another server has written down. Request: kind, user, version,
-- arguments. What comes late does nothing to what the user follows: what was done last is kept, as
-- "<version> <kind> <detail>". Returns {1 if it was done, devices that are to follow or unfollow}.
local kind, user, arguments = request.kind, request.user, request.arguments
if kind == 'follow' or kind == 'unfollow' then
  local key, stream = prefix .. 'user-stream-versions:' .. user, arguments[1]
  local before = string.match(redis.call('HGET', key, stream) or '0', '^%d+')
  if tonumber(before) > tonumber(request.version) then return done(0, {}) end
  redis.call('HSET', key, stream, request.version .. ' ' .. kind .. ' ' .. arguments[2])
end
return done(1, WORK[kind](user, unpack(arguments)) or {})
