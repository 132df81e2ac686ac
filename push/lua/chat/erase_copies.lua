-- What waits for a user of the messages of another, who is erased, a part at a time: also of those that the
-- history keeps no longer. Request: user, from, after ('' at first), limit. Returns where to go on, '' at
-- the end.
local stream = 'user:' .. request.user
local mark = '"kind":"chat","conversation":"user:' .. request.from .. '","from":"' .. request.from .. '","seq":'
local begin = request.after == '' and '-' or '(' .. request.after
local page = redis.call('XRANGE', prefix .. 'log:' .. stream, begin, '+', 'COUNT', request.limit)
for _, entry in ipairs(page) do
  local id, field, body = entry[2][2], entry[2][5], entry[2][6]
  -- It stands at the beginning: what a message says itself comes behind that.
  local place = field == 'm' and string.find(body, mark, 1, true)
  if place and place < 200 then
    take_out(stream, entry, 'c')
    announce(channel_of(stream), '0', 0, 0, id, 'x', '', string.match(entry[1], '^%d+'))
  end
end
if #page == request.limit then return done(page[#page][1]) end
delete_if_empty(stream)
return done('')
