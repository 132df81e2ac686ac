-- Write a new device's record. ARGV: token, secret digest, platform, app, device, created_ms,
-- seconds until it is forgotten if it never connects.
-- Returns 1, or 0 when the token is taken. Its cursors begin here (rule 4).
local token = ARGV[1]
local record = prefix .. 'device:' .. token
if redis.call('EXISTS', record) == 1 then return 0 end
local begin = str(stored_clock())
local own = 'dev:' .. token
redis.call('HSET', record, 'h', ARGV[2], 'p', ARGV[3], 'a', ARGV[4], 'd', ARGV[5],
  'created', ARGV[6], 'c:' .. own, begin, 'f:' .. own, begin, 'c:all', begin, 'f:all', begin)
redis.call('ZADD', prefix .. 'devices', str(math.floor(now / 1000) + tonumber(ARGV[7]) * 1000), token)
return 1
