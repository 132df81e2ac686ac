-- Write a new device's record. KEYS: clock, record. ARGV: token, secret digest, platform, app,
-- device, created_ms, seconds until it is forgotten if it never connects.
-- Returns 1, or 0 when the token is taken. Its cursors begin here (rule 4).
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local begin = str(stored_clock())
local own = 'dev:' .. ARGV[1]
redis.call('HSET', KEYS[2], 'h', ARGV[2], 'p', ARGV[3], 'a', ARGV[4], 'd', ARGV[5],
  'created', ARGV[6], 'c:' .. own, begin, 'f:' .. own, begin, 'c:all', begin, 'f:all', begin)
redis.call('EXPIRE', KEYS[2], ARGV[7])
return 1
