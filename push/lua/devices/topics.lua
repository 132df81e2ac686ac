-- Topics that devices of this server follow, in the order of their names.
-- ARGV: the name behind which to begin, how many at most. Returns name, devices, ...
local found = {}
local names = redis.call('ZRANGEBYLEX', prefix .. 'topics', '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2])
for _, name in ipairs(names) do
  found[#found + 1] = name
  found[#found + 1] = redis.call('SCARD', prefix .. 'followers:topic:' .. name)
end
return found
