-- Some more members of a dismissed group are let go; with the last of them goes all there is of it. What
-- is in its log expires. Request: group, limit. Returns how many members are left.
local gid = request.group
local stream = group_stream(gid)
local conversation = prefix .. 'conversation:' .. stream
local kept = redis.call('HMGET', conversation, 'dismissed_by', 'dismissed_id')
if not kept[2] then return done(0) end
request.by, request.id = kept[1], kept[2]
local users = redis.call('ZRANGEBYLEX', names_key(gid), '-', '+', 'LIMIT', 0, request.limit)
for _, user in ipairs(users) do leave(gid, user) end
tell_users(gid, 'dismissed', users)
local left = redis.call('ZCARD', names_key(gid))
if left == 0 then
  redis.call('DEL', conversation, members_key(gid), names_key(gid), prefix .. 'history:' .. stream,
    prefix .. 'recalled:' .. stream, prefix .. 'positions:' .. stream)
  redis.call('ZREM', prefix .. 'histories', stream)
  redis.call('ZREM', prefix .. 'dismissed', gid)
end
return done(left)
