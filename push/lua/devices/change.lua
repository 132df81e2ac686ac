-- A device begins or ceases to follow streams.
-- KEYS: clock.
-- ARGV: token, user it must be bound to ('' = any), then per stream: 'follow' or 'unfollow', stream, '1' if it
-- is of this server ('0' if not), where following begins ('' = now) or the code for what waits and the offset
-- after which it did not begin ('' = whenever it did).
-- Returns {-1}: no such device; {0, session, boot id}: there was nothing to change; else {1, session, boot id,
-- offset of the notice, errand, ...} (see `holder_of` and `notify_device`).
-- uses: devices, record, device_errands, binding, notify
local token, user = ARGV[1], ARGV[2]
local record = device_key(token)
if redis.call('EXISTS', record) == 0 then return { -1 } end
local session, boot = holder_of(record)
if user ~= '' and user_of(record) ~= user then return { 0, session, boot } end
local changed = false
for i = 3, #ARGV, 4 do
  local verb, stream, here, detail = ARGV[i], ARGV[i + 1], ARGV[i + 2] == '1', ARGV[i + 3]
  if verb == 'follow' then
    changed = start_following(record, token, stream, here, tonumber(detail), user) or changed
  else
    local code, ended_at = string.match(detail, '^(%S*) (%d*)$')
    if ended_at == '' or followed_since(record, stream) <= tonumber(ended_at) then
      changed = stop_following(record, token, stream, code) or changed
    end
  end
end
if not changed then return { 0, session, boot } end
return { 1, session, boot, notify_device(record, token), unpack(errands) }
