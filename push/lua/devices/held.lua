-- Which sessions are their device's still. ARGV: token, session, ...
-- Returns the numbers (from 1) of those that are not.
local lost = {}
for i = 1, #ARGV, 2 do
  if redis.call('HGET', prefix .. 'device:' .. ARGV[i], 's') ~= ARGV[i + 1] then
    lost[#lost + 1] = (i + 1) / 2
  end
end
return lost
