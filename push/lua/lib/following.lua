-- Which streams a device follows: those in which it has a cursor. The one place that changes it, for
-- the streams of this server; `record` is the device's record or the part of it that is here.

-- The set of the devices that follow what many may follow.
local function followers_key(stream)
  if string.sub(stream, 1, 5) == 'user:' then
    return prefix .. 'user-devices:' .. string.sub(stream, 6)
  end
  return prefix .. 'followers:' .. stream
end

-- `topics` are the names of the topics of this server that a device follows, in order.
local function list_topic(stream)
  local topic = string.match(stream, '^topic:(.+)$')
  if not topic then return end
  if redis.call('EXISTS', followers_key(stream)) == 1 then
    redis.call('ZADD', prefix .. 'topics', '0', topic)
  else
    redis.call('ZREM', prefix .. 'topics', topic)
  end
end

-- A message that has counters is for the devices that follow when it is published. A device that follows
-- later, but from an earlier place, reads what was published in between: it is for that device, too.
local function address_late(stream, begin)
  local after = begin
  while true do
    local page = redis.call('XRANGE', prefix .. 'log:' .. stream, str(after + 1), '+', 'COUNT', 100)
    for _, entry in ipairs(page) do
      after = tonumber(string.match(entry[1], '^%d+'))
      if entry[2][5] == 'm' then add_addressed(entry[2][2]) end
    end
    if #page < 100 then return end
  end
end

-- Following begins at the offset `begin` (rule 4). Returns whether this changed anything.
local function follow(record, token, stream, begin)
  if redis.call('HEXISTS', record, 'c:' .. stream) == 1 then return false end
  local is_new = redis.call('SADD', followers_key(stream), token) == 1
  if is_new and begin < stored_clock() and not is_listed(stream) then address_late(stream, begin) end
  list_topic(stream)
  redis.call('HSET', record, 'c:' .. stream, str(begin), 'f:' .. stream, str(begin))
  return true
end

-- Following ends: what waits will never be read by this device, `code` in the ledger ('' where it is
-- not to be looked through).
local function unfollow(record, token, stream, code)
  local kept = redis.call('HMGET', record, 'c:' .. stream, 'p:' .. stream)
  redis.call('SREM', followers_key(stream), token)
  list_topic(stream)
  if not kept[1] then return false end
  if code ~= '' then
    pass(stream, token, tonumber(kept[1]), tonumber(kept[2] or '0'), now, code)
  end
  redis.call('HDEL', record, 'c:' .. stream, 'f:' .. stream, 't:' .. stream, 'p:' .. stream)
  return true
end

-- Behind which offset a user is a member of a group, nil if he is none. His record beside the group's log
-- decides (rule 5): who lets his devices follow may be late, or know only of an earlier time.
local function joined_at(gid, user)
  if redis.call('EXISTS', prefix .. 'group:' .. gid) == 0 then return nil end
  local member = redis.call('HGET', prefix .. 'members:' .. gid, user)
  return member and tonumber(string.match(member, '%d+$'))
end

-- The device of `user` follows from `begin` on; a group while he is a member, and from where he joined.
-- Returns whether this changed anything.
local function follow_as(record, token, stream, begin, user)
  local gid = string.match(stream, '^group:(.+)$')
  if not gid then return follow(record, token, stream, begin) end
  local joined = joined_at(gid, user)
  if not joined then return unfollow(record, token, stream, 'd:removed') end
  local kept = redis.call('HMGET', record, 'f:' .. stream, 'c:' .. stream, 'p:' .. stream)
  if kept[2] and tonumber(kept[1]) < joined then
    -- He was a member before, and that this had an end was not done here yet.
    pass(stream, token, tonumber(kept[2]), tonumber(kept[3] or '0'), joined, 'd:removed')
    redis.call('HDEL', record, 'c:' .. stream, 't:' .. stream, 'p:' .. stream)
  end
  return follow(record, token, stream, math.max(begin, joined))
end

-- The groups of this server that a device follows are those of its user. What ended, and is not done here
-- yet, a session must not take up again behind the place where it ended.
local function check_groups(record, token)
  local user = redis.call('HGET', record, 'u') or ''
  for _, name in ipairs(redis.call('HKEYS', record)) do
    if string.sub(name, 1, 8) == 'c:group:' then
      follow_as(record, token, string.sub(name, 3), 0, user)
    end
  end
end
