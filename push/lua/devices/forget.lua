-- Delete a device and all that waits for it. In the ledger, what it had not acknowledged is dropped; what it
-- shared with many not for one that was offline until its time was over: that may be a long log, and many
-- such devices. It counts as expired there, when it does.
-- KEYS: clock.
-- ARGV: token; and, to delete it only if nothing has changed, the boot id that its record names ('' where
-- none).
-- Returns nil, or {session, boot id ('' where none), errand, ...}.
-- uses: fields, log, ledger, devices, event_positions, record, unfollow, device_errands, journals
-- uses: device_events
local token, expected_boot = ARGV[1], ARGV[2]
local record = device_key(token)
local session, boot = holder_of(record)
if expected_boot and boot ~= expected_boot then return false end
redis.call('ZREM', DEVICES_KEY, token)
local fields = redis.call('HKEYS', record)
if #fields == 0 then return false end
for _, name in ipairs(fields) do
  local stream, elsewhere = followed_stream(name)
  if elsewhere then
    send_errand(expected_boot and 'retire' or 'forget', token, stream)
  elseif stream then
    local code = (is_listed(stream) or not expected_boot) and DROPPED_FORGOTTEN or ''
    unfollow(record, token, stream, code)
  end
end
device_went_offline(record, token, true)
local own = 'dev:' .. token
redis.call('DEL', record, log_key(own), lost_key(own), event_positions_key(token))
forget_journal('device-events', token)
delete_if_empty(own)
return { session, boot, unpack(errands) }
