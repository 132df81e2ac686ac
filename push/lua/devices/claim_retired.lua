-- Claim devices whose time is over: nobody else claims them for some seconds.
-- KEYS: clock.
-- ARGV: how many, for how many seconds.
-- Returns {token, boot id that the record names ('' where none)} for each.
-- uses: devices, record, work_queue
local now_ms = clock_ms()
local due = claim_work('devices', now_ms, now_ms + tonumber(ARGV[2]) * 1000, ARGV[1])
for i, token in ipairs(due) do
  local _, boot = holder_of(device_key(token))
  due[i] = { token, boot }
end
return due
