-- A user is erased: what they called their messages in a group is forgotten, the newest first, a part at a
-- time. Request: owner, user, before ('' at first), limit, seconds (for which these names are kept). Returns
-- where to go on, '' at the end.
local owner, user = request.owner, request.user
local oldest_ms = now / 1000 - request.seconds * 1000
local begin = request.before == '' and '+' or '(' .. request.before
local page = redis.call('XREVRANGE', history_key(owner), begin, '-', 'COUNT', request.limit)
for _, entry in ipairs(page) do
  if tonumber(entry[2][6]) < oldest_ms then return done('') end
  if entry[2][2] == user then forget_client_id(owner, user, entry[2][8]) end
end
return done(#page == request.limit and page[#page][1] or '')
