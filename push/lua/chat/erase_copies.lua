-- What waits for a user of the messages of another, who is erased, a part at a time: also of those that the
-- history keeps no longer.
-- KEYS: clock.
-- ARGV: the request: user, from, after ('' at first), limit.
-- Returns where to go on, '' at the end.
-- uses: fields, request, entry, log, withdraw
local stream, from = 'user:' .. request.user, request.from
local mark = '"kind":"chat","conversation":"user:' .. from .. '","from":"' .. from .. '","seq":'
local begin = request.after == '' and '-' or '(' .. request.after
local page = redis.call('XRANGE', log_key(stream), begin, '+', 'COUNT', request.limit)
for _, entry in ipairs(page) do
  -- It is at the beginning: what a message says itself comes after that.
  local _, _, _, field, content = read_entry(entry)
  local place = field == ENTRY_MESSAGE and string.find(content, mark, 1, true)
  if place and place < 200 then withdraw_entry(stream, entry, CANCELLED) end
end
if #page == request.limit then return done(page[#page][1]) end
delete_if_empty(stream)
return done('')
