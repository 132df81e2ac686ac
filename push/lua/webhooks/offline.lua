-- A device was without a session for the grace time, or its connector has vanished.
-- KEYS: clock.
-- ARGV: token, the boot id of a connector that the caller knows of ('' = none), '1' if that one lives.
-- Returns the boot id of the connector that has the device and of which the caller knows nothing, else ''.
-- uses: fields, devices, work_queue, device_events
local token, boot, lives = unpack(ARGV)
local record = device_key(token)
local holder = redis.call('HGET', record, DEVICE_BOOT)
if holder and holder ~= boot then return holder end
if holder and lives == '1' then
  end_work(OFFLINE_QUEUE, token)
  redis.call('ZADD', ONLINE_KEY, 0, holder .. ' ' .. token)
elseif redis.call('EXISTS', record) == 1 then
  device_went_offline(record, token)
else
  end_work(OFFLINE_QUEUE, token)
end
return ''
