-- Count what became of messages that are in no log. ARGV: as msgpack a list of
-- {id, token ('' where the message has counters), code ('w' written, 'a', 'd:<reason>'), count, stream}.
-- A session that a connector reached is counted, also if its device is not among those that the message
-- was for when it was published: it was for it, too.
local function address_reached(id, token, stream)
  local key, field = message_key(id), 't:' .. token
  if redis.call('HGET', key, 'o') ~= '0' or redis.call('HEXISTS', key, field) == 1 then return end
  redis.call('HSET', key, field, 's0 ' .. str(math.floor(now / 1000)) .. ' ')
  local user = string.match(stream, '^user:(.+)$')
  if user then
    local tokens = redis.call('HGET', key, 'u:' .. user)
    redis.call('HSET', key, 'u:' .. user, tokens and tokens .. ' ' .. token or token)
  end
end

for _, item in ipairs(cmsgpack.unpack(ARGV[1])) do
  local id, token, code, count, stream = unpack(item)
  if token ~= '' then
    address_reached(id, token, stream)
    if code == 'w' then note_written(id, token) else settle(id, token, code, code == 'a') end
  elseif code == 'w' then
    count_written(id, count)
  else
    settle_count(id, code, count)
  end
end
return 1
