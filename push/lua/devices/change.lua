-- A device begins or ceases to follow streams. ARGV: token, user it must be bound to ('' = any), then
-- per stream: 'follow' or 'unfollow', stream, '1' if it is of this server ('0' if not), where following
-- begins ('' = now) or the code for what waits.
-- Returns {-1}: no such device; else {1, session, boot id, errand, ...} when it changed, 0 instead of 1
-- when there was nothing to change (see `holder_of`).
local token = ARGV[1]
local record = prefix .. 'device:' .. token
if redis.call('EXISTS', record) == 0 then return {-1} end
local session, boot = holder_of(record)
if ARGV[2] ~= '' and redis.call('HGET', record, 'u') ~= ARGV[2] then return {0, session, boot} end
local changed = false
for i = 3, #ARGV, 4 do
  local stream, detail = ARGV[i + 1], ARGV[i + 3]
  if ARGV[i] == 'follow' then
    changed = start_following(record, token, stream, ARGV[i + 2] == '1', tonumber(detail),
      ARGV[2]) or changed
  else
    changed = stop_following(record, token, stream, detail) or changed
  end
end
if not changed then return {0, session, boot} end
tell(record, token)
return {1, session, boot, unpack(errands)}
