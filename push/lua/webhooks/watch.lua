-- Devices that had a session before somebody wanted to know are watched, too.
-- KEYS: clock.
-- ARGV: tokens.
-- Returns 1.
-- uses: fields, devices, device_events
for _, token in ipairs(ARGV) do
  local boot = redis.call('HGET', device_key(token), DEVICE_BOOT)
  if boot then redis.call('ZADD', ONLINE_KEY, 0, boot .. ' ' .. token) end
end
return 1
