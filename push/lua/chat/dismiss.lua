-- A group ends: at once for everybody who asks, and for sessions at this place of its log. Its members
-- are let go a part at a time (dismiss_part.lua).
-- KEYS: clock.
-- ARGV: the request: group, by, id.
-- Returns nothing more.
-- uses: request, conversation, group_keys, group, permissions, end_group_following, work_queue
-- uses: group_webhook
local gid = request.group
local group = group_of(gid)
if not group then return unknown_group() end
local refusal = may('dismiss', group, member_of(gid, request.by))
if refusal then return refusal end
redis.call('DEL', group_key(gid))
end_following(gid)
-- The daemon that does the rest has until then to do it.
local conversation = conversation_key('group:' .. gid)
redis.call('HSET', conversation, 'dismissed_by', request.by, 'dismissed_id', request.id)
put_work('dismissed', gid)
put_group_event(gid, 'dismissed')
return done()
