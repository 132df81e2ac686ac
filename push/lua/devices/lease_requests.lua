-- Some requests at once of a quota for each second (GCRA): a process asks for several, so that it need not
-- ask for each.
-- KEYS: clock, when all that was taken is free again (us).
-- ARGV: per_second, wanted.
-- Returns how many it gets, how many are left after that, in how many us the next one is free (if it gets
-- none), and in how many us all are.
local per_second, wanted = tonumber(ARGV[1]), tonumber(ARGV[2])
local SECOND_US = 1000000
local each = SECOND_US / per_second
local free_at = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), now)
local room = math.floor((now + SECOND_US - free_at) / each + 0.000001)
if room < 1 then return { 0, 0, str(math.ceil(free_at + each - SECOND_US - now)), str(free_at - now) } end
local taken = math.min(room, wanted)
free_at = math.ceil(free_at + taken * each)
redis.call('SET', KEYS[2], str(free_at), 'PX', str(math.ceil((free_at - now) / 1000)))
return { taken, room - taken, '0', str(free_at - now) }
