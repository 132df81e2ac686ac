-- Which server of which deployment this is. It runs alone: without prelude and library files.
-- KEYS: where that is kept, the clock.
-- ARGV: deployment ('' = not known yet), number, how many servers, a name for a new deployment.
-- Returns {deployment, number, how many, 'moving' while data is moved, else ''}; {} when it has none yet
-- and cannot be given one: the first server of the list names the deployment. A server with data that
-- has no name was alone.
local kept = redis.call('HMGET', KEYS[1], 'deployment', 'number', 'of', 'moving')
if kept[1] then return { kept[1], kept[2], kept[3], kept[4] or '' } end
if ARGV[3] ~= '1' and redis.call('EXISTS', KEYS[2]) == 1 then return { ARGV[4], '0', '1', '' } end
local deployment = ARGV[1]
if deployment == '' then
  if ARGV[2] ~= '0' then return {} end
  deployment = ARGV[4]
end
redis.call('HSET', KEYS[1], 'deployment', deployment, 'number', ARGV[2], 'of', ARGV[3])
return { deployment, ARGV[2], ARGV[3], '' }
