-- Do on a stream's server what the device's record says, which is on another. What comes late does nothing:
-- the version of what was done last is remembered.
-- KEYS: clock.
-- ARGV: verb, token, stream, version, detail, user. 'follow': from `detail` on ('' = now), as the device of
-- `user`. 'unfollow': `detail` is the code for what waits. 'forget': the device is deleted; 'retire': as
-- well, and it was offline until its time was over (see forget.lua).
-- Returns 1, or 0 when it did nothing.
-- uses: fields, devices, ledger, unfollow, part, follow_version
local verb, token, stream, version, detail, user = unpack(ARGV)
version = tonumber(version)
local record = device_key(token)
if verb == 'follow' then return follow_version(record, token, stream, version, tonumber(detail), user) end

if version < tonumber(redis.call('HGET', record, DEVICE_VERSION .. stream) or '0') then return 0 end
local code = verb == 'unfollow' and detail or DROPPED_FORGOTTEN
if verb == 'retire' and not is_listed(stream) then code = '' end
unfollow(record, token, stream, code)
redis.call('HDEL', record, DEVICE_VERSION .. stream)
local gone = tonumber(redis.call('GET', gone_key(token, stream)) or '0')
redis.call('SET', gone_key(token, stream), str(math.max(version, gone)), 'EX', DAY_SECONDS)
if verb ~= 'unfollow' or redis.call('HEXISTS', record, DEVICE_SESSION) == 0 then
  drop_part_if_empty(record)
else
  let_part_expire_if_empty(record)
end
return 1
