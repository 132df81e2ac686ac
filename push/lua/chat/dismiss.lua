-- A group ends: at once for everybody who asks, and for sessions at this place of its log. Its members
-- are let go a part at a time (dismiss_part.lua). Request: group, by, id.
local gid = request.group
local group = group_of(gid)
if not group then return refuse('unknown_group', UNKNOWN_GROUP) end
local refusal = may('dismiss', group, member_of(gid, request.by))
if refusal then return refusal end
redis.call('DEL', group_key(gid))
end_following(gid)
-- Who does the rest has until then to do it.
redis.call('HSET', prefix .. 'conversation:' .. group_stream(gid), 'dismissed_by', request.by,
  'dismissed_id', request.id)
redis.call('ZADD', prefix .. 'dismissed', str(math.floor(now / 1000)), gid)
return done()
