-- Sessions take their devices, at the home of those.
-- KEYS: clock.
-- ARGV: boot id, node, retention_seconds, '1' if there are other servers; then each session as msgpack
-- (`OpeningItem` in push/devices/session_opening.py).
-- Returns for each session {now, session before, its boot id, what of the record says what is followed, streams of
-- which something was dropped unread, errands, epoch}. In the record that is returned, DEVICE_REREAD<stream> is
-- where reading begins if not at the cursor. {'unknown'}: there is no such device; {'wrong'}: the secret is not
-- its own (see lib/joined.lua). {'had'}: it is replayed, and this or a later session has the device.
-- uses: packed, joined, fields, devices, device_errands, bind, jwt_topics, check_groups, opening, device_events
local FIRST_SESSION = 5
local boot, node, retention_seconds, several = unpack(ARGV, 1, 4)

local function open(item)
  local token, session = item.token, item.session
  local record = device_key(token)
  local before = redis.call('HMGET', record, DEVICE_SECRET, DEVICE_SESSION, DEVICE_BOOT, DEVICE_EPOCH)
  if not before[1] then return { 'unknown' } end
  if item.secret and item.secret ~= before[1] then return { 'wrong' } end
  local epoch = tonumber(before[4] or '0')
  if item.told_epoch and epoch >= item.told_epoch then return { 'had' } end
  epoch = epoch + 1
  if item.user then bind(record, token, item.user, item.place) end
  if item.topics then
    local allowed = {}
    for _, stream in ipairs(item.topics) do
      allowed[stream] = true
    end
    stop_topics_of_jwt(record, token, allowed)
  end
  if several == '1' then check_groups(record, token) end
  local fields = item.cursors[1] and apply_client_cursors(record, token, item.cursors, 1) or {}

  local taken = { DEVICE_SESSION, session, DEVICE_BOOT, boot, DEVICE_NODE, node, DEVICE_EPOCH, epoch }
  redis.call('HSET', record, DEVICE_SEEN, str(clock_ms()), unpack(taken))
  keep_device(token, retention_seconds)
  device_came_online(record, token, boot, before[3])
  local truncated = add_followed(record, fields)
  return { str(now), before[2], before[3], fields, truncated, take_errands(), epoch }
end

return packed(replies_of(FIRST_SESSION, open))
