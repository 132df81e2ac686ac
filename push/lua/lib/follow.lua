-- A device follows a stream of this server: it has a cursor in it. `record` is the device's record, or the
-- part of it that is here.
-- uses: fields, entry, log, ledger, followers, topic_names, advance_at_end, unfollow, group_keys

-- A message that has counters is for one more device.
local function add_addressed(id)
  local key = message_key(id)
  local kept = redis.call('HMGET', key, LEDGER_ADDRESSED, LEDGER_CLOSED_WITH)
  if kept[1] and not kept[2] then redis.call('HINCRBY', key, LEDGER_ADDRESSED, 1) end
end

-- A message that has counters is for the devices that follow when it is published. A device that follows
-- later, but from an earlier place, reads what was published in between: it is for that device, too.
local function address_late(stream, begin)
  local after = begin
  while true do
    local page = redis.call('XRANGE', log_key(stream), str(after + 1), '+', 'COUNT', 100)
    for _, entry in ipairs(page) do
      local offset, id, _, field = read_entry(entry)
      after = tonumber(offset)
      if field == ENTRY_MESSAGE then add_addressed(id) end
    end
    if #page < 100 then return end
  end
end

-- Following begins at the offset `begin` (rule 4). Returns whether this changed anything.
local function follow(record, token, stream, begin)
  if redis.call('HEXISTS', record, DEVICE_CURSOR .. stream) == 1 then return false end
  local is_new = redis.call('SADD', followers_key(stream), token) == 1
  if is_new and begin < stored_clock() and not is_listed(stream) then address_late(stream, begin) end
  list_topic(stream)
  local offset = str(begin)
  redis.call('HSET', record, DEVICE_CURSOR .. stream, offset, DEVICE_START .. stream, offset)
  return true
end

-- After which offset a user is a member of a group, nil if they are none. Their record beside the group's log
-- decides (rule 5): who lets their devices follow may be late, or know only of an earlier time.
local function joined_at(gid, user)
  if redis.call('EXISTS', group_key(gid)) == 0 then return nil end
  local member = redis.call('HGET', members_key(gid), user)
  return member and tonumber(string.match(member, '%d+$'))
end

-- Following ends and begins again at the offset `begin`. A session that did not know may have been handed
-- messages after that, and have acknowledged them: those are counted.
local function follow_again(record, token, stream, begin)
  local cursor_field, position_field = DEVICE_CURSOR .. stream, DEVICE_POSITION .. stream
  local kept = redis.call('HMGET', record, cursor_field, position_field)
  local cursor, position = tonumber(kept[1]), tonumber(kept[2] or '0')
  advance_at_end(record, stream, token, cursor, position, begin, DROPPED_REMOVED)
  cursor = math.max(cursor, begin)
  redis.call('HSET', record, DEVICE_START .. stream, str(begin), cursor_field, str(cursor))
  redis.call('HDEL', record, DEVICE_ATTEMPTS .. stream)
  if position <= cursor then redis.call('HDEL', record, position_field) end
end

-- The device of `user` follows from `begin` on; a group while the user is a member, and from where they
-- joined. Returns whether this changed anything.
local function follow_as(record, token, stream, begin, user)
  local gid = string.match(stream, '^group:(.+)$')
  if not gid then return follow(record, token, stream, begin) end
  local joined = joined_at(gid, user)
  if not joined then return unfollow(record, token, stream, DROPPED_REMOVED) end
  local from = math.max(begin, joined)
  local start = redis.call('HGET', record, DEVICE_START .. stream)
  if not start or tonumber(start) >= joined then return follow(record, token, stream, from) end
  -- The user was a member before, and that this ended was not done here yet.
  follow_again(record, token, stream, from)
  return true
end
