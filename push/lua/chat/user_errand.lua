-- Do for a user what a script of another server has written down. What comes late does nothing to what the
-- user follows: what was done last is kept, as "<version> <kind> <detail>".
-- KEYS: clock.
-- ARGV: the request: kind, user, version, arguments.
-- Returns for 'follow' and 'unfollow' what was done last, and the user's devices, which are to follow or not
-- as that says: who did it may have been killed before they all did.
-- uses: request, followers, user_streams, for_user, user_post, user_follow, user_unfollow, user_recall
-- uses: user_forget, user_unclaim
local kind, user, arguments = request.kind, request.user, request.arguments

-- What ended a day ago is forgotten, as `gone:` is; all of it when nothing else is followed.
local function forget_old_versions(key, but)
  local kept, follows = redis.call('HGETALL', key), false
  for i = 1, #kept, 2 do
    local version, verb = string.match(kept[i + 1], '^(%d+) (%a+)')
    if verb == 'follow' then
      follows = true
    elseif kept[i] ~= but and now - tonumber(version) > DAY_SECONDS * 1000000 then
      redis.call('HDEL', key, kept[i])
    end
  end
  if follows then
    redis.call('PERSIST', key)
  else
    redis.call('EXPIRE', key, DAY_SECONDS)
  end
end

if kind == 'follow' or kind == 'unfollow' then
  local key, stream = user_stream_versions_key(user), arguments[1]
  local last = redis.call('HGET', key, stream) or '0'
  if tonumber(string.match(last, '^%d+')) > tonumber(request.version) then
    return done(last, redis.call('SMEMBERS', followers_key('user:' .. user)))
  end
  last = request.version .. ' ' .. kind .. ' ' .. arguments[2]
  redis.call('HSET', key, stream, last)
  forget_old_versions(key, stream)
  return done(last, WORK[kind](user, unpack(arguments)))
end
WORK[kind](user, unpack(arguments))
return done()
