-- Which users are in as many groups as devices may put them into?
-- KEYS: clock.
-- ARGV: the request: users, most.
-- Returns those, by their positions in the list.
-- uses: request, user_streams
local positions = {}
for i, user in ipairs(request.users) do
  if redis.call('SCARD', user_streams_key(user)) >= request.most then positions[#positions + 1] = i end
end
return done(positions)
