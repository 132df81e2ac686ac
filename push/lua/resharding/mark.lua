-- What this server is in which deployment.
-- KEYS: clock.
-- ARGV: deployment, number, how many servers, the plan by which its data is being moved ('' when that is
-- over).
-- Returns 1.
local key = prefix .. 'shard'
redis.call('HSET', key, 'deployment', ARGV[1], 'number', ARGV[2], 'of', ARGV[3])
if ARGV[4] == '' then
  redis.call('HDEL', key, 'moving')
else
  redis.call('HSET', key, 'moving', ARGV[4])
end
return 1
