-- A user is to be erased: that it is, is kept until it is done, by whoever. Request: user. Returns 1, or 0
-- when there is nothing of the user.
local user = request.user
local found = redis.call('ZSCORE', prefix .. 'erasing', user)
for _, name in ipairs({'user-devices:', 'user-streams:', 'conversations:', 'copied:', 'log:user:',
  'lost:user:'}) do
  found = found or redis.call('EXISTS', prefix .. name .. user) == 1
end
if not found then return done(0) end
redis.call('ZADD', prefix .. 'erasing', str(math.floor(now / 1000)), user)
return done(1)
