-- Connectors that had vanished are there again, with their sessions: devices told offline are told online.
-- KEYS: clock.
-- ARGV: the boot ids of those connectors, by spaces; tokens.
-- Returns how many devices were told online.
-- uses: fields, devices, webhooks, device_events
local boots, count = {}, 0
for boot in string.gmatch(ARGV[1], '%S+') do
  boots[boot] = true
end
local presence = redis.call('HGET', WEBHOOK_WANTED, 'presence')
for i = 2, #ARGV do
  local token, record = ARGV[i], device_key(ARGV[i])
  local kept = redis.call('HMGET', record, DEVICE_BOOT, DEVICE_TOLD)
  if presence and kept[1] and boots[kept[1]] then
    if kept[2] == presence .. '0' then count = count + 1 end
    device_came_online(record, token, kept[1])
  end
end
return count
