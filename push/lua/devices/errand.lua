-- Do on a stream's server what the device's record says, which is on another.
-- ARGV: verb, token, stream, version, detail, user. 'follow': from `detail` on ('' = now), as the device of
-- `user`. 'unfollow': `detail` is the code for what waits. 'forget': the device is deleted; 'retire': as
-- well, and it was away until its time was over (see forget.lua).
-- What comes late does nothing: the version of what was done last is remembered.
local verb, token, stream, version, detail = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local record = prefix .. 'device:' .. token
if verb == 'follow' then
  return follow_version(record, token, stream, version, tonumber(detail), ARGV[6])
end

if version < tonumber(redis.call('HGET', record, 'v:' .. stream) or '0') then return 0 end
local code = verb == 'unfollow' and detail or 'd:forgotten'
if verb == 'retire' and not is_listed(stream) then code = '' end
unfollow(record, token, stream, code)
redis.call('HDEL', record, 'v:' .. stream)
redis.call('SET', gone_key(token, stream), str(version), 'EX', 86400)
if verb ~= 'unfollow' or redis.call('HEXISTS', record, 's') == 0 then
  drop_part_if_empty(record)
else
  let_part_expire_if_empty(record)
end
return 1
