-- Some more members of a dismissed group are let go; with the last of them goes all there is of it. What
-- is in its log expires.
-- KEYS: clock.
-- ARGV: the request: group, limit.
-- Returns how many members are left.
-- uses: request, conversation, group_keys, leave_group, tell_users, work_queue
local gid = request.group
local stream = 'group:' .. gid
local conversation = conversation_key(stream)
local kept = redis.call('HMGET', conversation, 'dismissed_by', 'dismissed_id')
if not kept[2] then return done(0) end
request.by, request.id = kept[1], kept[2]
local users = redis.call('ZRANGEBYLEX', names_key(gid), '-', '+', 'LIMIT', 0, request.limit)
for _, user in ipairs(users) do
  leave(gid, user)
end
tell_users(gid, 'dismissed', users)
local left = redis.call('ZCARD', names_key(gid))
if left == 0 then
  redis.call('DEL', conversation, members_key(gid), names_key(gid))
  redis.call('DEL', history_key(stream), recalled_key(stream), positions_key(stream))
  end_work(HISTORIES, stream)
  end_work('dismissed', gid)
end
return done(left)
