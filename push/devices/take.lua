-- A session takes the part of a device's record that is here. ARGV: token, session, how often the device
-- was taken at its home, how many streams, then per stream: stream, version; then the client's cursors:
-- stream, offset.
-- Returns {now, fields, streams of which something was dropped unread}, {} when a later session has it.
local token, session, epoch = ARGV[1], ARGV[2], tonumber(ARGV[3])
local record = prefix .. 'device:' .. token
if tonumber(redis.call('HGET', record, 'e') or '0') > epoch then return {} end
local first = 5 + 2 * tonumber(ARGV[4])
for i = 5, first - 1, 2 do
  follow_version(record, token, ARGV[i], tonumber(ARGV[i + 1]))
end
redis.call('HSET', record, 's', session, 'e', str(epoch))
local rereads = apply_client_cursors(record, token, first)
local fields = redis.call('HGETALL', record)
local truncated = truncated_of(fields)
for _, item in ipairs(rereads) do fields[#fields + 1] = item end
return {str(now), fields, truncated}
