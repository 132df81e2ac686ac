-- Topics that devices of this server follow, in the order of their names.
-- KEYS: clock.
-- ARGV: the name after which to begin, how many at most.
-- Returns name, devices, ...
-- uses: followers, topic_names
local found = {}
for _, name in ipairs(redis.call('ZRANGEBYLEX', TOPICS_KEY, '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2])) do
  found[#found + 1] = name
  found[#found + 1] = redis.call('SCARD', followers_key('topic:' .. name))
end
return found
