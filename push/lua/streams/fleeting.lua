-- Count what became of messages that are in no log. ARGV: as msgpack a list of
-- {id, token ('' where the message has counters), code ('w' written, 'a', 'd:<reason>'), count}.
for _, item in ipairs(cmsgpack.unpack(ARGV[1])) do
  local id, token, code, count = unpack(item)
  if token ~= '' then
    if code == 'w' then note_written(id, token) else settle(id, token, code, code == 'a') end
  elseif code == 'w' then
    count_written(id, count)
  else
    settle_count(id, code, count)
  end
end
return 1
