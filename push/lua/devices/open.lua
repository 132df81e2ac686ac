-- A session takes a device, at its home.
-- ARGV: token, session, boot id, node, retention_seconds, user to bind ('' = none), place of that user's
-- stream (see binding.lua), '1' if there are other servers, the streams of the topics that its JWT allows
-- (by spaces; '-' = there is no JWT), then the client's cursors: stream, offset.
-- Returns {now, session before, its boot id, record, streams of which something was dropped unread,
-- errands} or {} when there is no such device. In the record that is returned, 'r:<stream>' is where
-- reading begins if not at the cursor.
local token, session = ARGV[1], ARGV[2]
local record = prefix .. 'device:' .. token
if redis.call('EXISTS', record) == 0 then return {} end
local before = redis.call('HMGET', record, 's', 'b')
if ARGV[6] ~= '' then bind(record, token, ARGV[6], ARGV[7]) end
if ARGV[9] ~= '-' then
  local allowed = {}
  for stream in string.gmatch(ARGV[9], '%S+') do allowed[stream] = true end
  stop_topics_of_jwt(record, token, allowed)
end
if ARGV[8] == '1' then check_groups(record, token) end
local rereads = apply_client_cursors(record, token, 10)

local now_ms = math.floor(now / 1000)
redis.call('HSET', record, 's', session, 'b', ARGV[3], 'n', ARGV[4], 'seen', str(now_ms))
redis.call('HINCRBY', record, 'e', 1)
redis.call('ZADD', prefix .. 'devices', str(now_ms + tonumber(ARGV[5]) * 1000), token)
local fields = redis.call('HGETALL', record)
local truncated = truncated_of(fields)
for _, item in ipairs(rereads) do fields[#fields + 1] = item end
return {str(now), before[1], before[2], fields, truncated, errands}
