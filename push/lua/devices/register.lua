-- Write a new device's record. Its cursors begin here (rule 4).
-- KEYS: clock.
-- ARGV: token, secret digest, platform, app, device, created_ms, seconds until it is forgotten if it never
-- connects.
-- Returns 1, or 0 when the token is taken.
-- uses: fields, devices
local token, secret, platform, app, label, created, seconds = unpack(ARGV)
local record = device_key(token)
if redis.call('EXISTS', record) == 1 then return 0 end
redis.call('HSET', record, DEVICE_SECRET, secret, DEVICE_PLATFORM, platform, DEVICE_APP, app)
redis.call('HSET', record, DEVICE_LABEL, label, DEVICE_CREATED, created)
local begin = str(stored_clock())
for _, stream in ipairs({ 'dev:' .. token, 'all' }) do
  redis.call('HSET', record, DEVICE_CURSOR .. stream, begin, DEVICE_START .. stream, begin)
end
keep_device(token, seconds)
return 1
