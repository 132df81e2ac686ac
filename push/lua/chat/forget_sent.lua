-- A user is erased: what they called their messages in a group is forgotten, the newest first, a part at a
-- time.
-- KEYS: clock.
-- ARGV: the request: owner, user, before (a seq, '' at first), limit, seconds (for which these names are kept).
-- Returns where to go on, '' at the end.
-- uses: request, history, user_unclaim
local owner, user = request.owner, request.user
local oldest_ms = now / 1000 - request.seconds * 1000
local page = messages_before(owner, request.before, request.limit)
for _, message in ipairs(page) do
  if tonumber(message.ts) < oldest_ms then return done('') end
  if message.from == user then forget_client_id(owner, user, message.tail) end
end
return done(#page == request.limit and page[#page].seq or '')
