-- Move cursors forward, count in the ledger what they passed, and trim what nobody needs any more.
-- Counting goes from where the record says that the device was, so that a call which is made again,
-- or by a session that read the same once more, counts nothing twice.
-- KEYS: clock.
-- ARGV: streams and cursors as msgpack (see push/streams/cursors.py); 'again' when the same was told to
-- another master, '' the first time.
-- A stream is {name, {offset, id, offset, id, ...}}: messages that one of its cursors has to tell of.
-- A cursor is {token, session, number of its stream, offset, position, first, last, exceptions,
-- late, is last}: all up to `offset` is done, all up to `position` was handed out. It tells of the messages
-- from number `first` to `last` of its stream. Exceptions, by offset as text, are what was not
-- acknowledged, as {code, written}; the code '' counts as nothing. `late` are messages that a cursor
-- passed for another reason and that were acknowledged after that, as {id, offset, code}: the code by which
-- the cursor's passing counts where there are counters, '' if it counts as nothing. `is last`: the session follows
-- the stream no more; each message that it tells of has its end, wherever the cursor is.
-- Returns the numbers (from 1) of the cursors whose session is not the record's any more.
-- uses: fields, devices, ledger, outcomes, counters, trim, ended
local streams, cursors = unpack(cmsgpack.unpack(ARGV[1]))
local is_again = ARGV[2] == 'again'
local lost = {}
local written = {}
local done = {}
local replaced = {}

-- `count` devices that had finished with `code` acknowledge a message with counters after all.
local function replace_outcome(id, code, count)
  local key = message_key(id)
  if redis.call('EXISTS', key) == 0 then return end
  redis.call('HINCRBY', key, code, -count)
  redis.call('HINCRBY', key, ACKNOWLEDGED, count)
end

local function add(counts, id, code)
  local of = counts[id]
  if not of then
    of = {}
    counts[id] = of
  end
  of[code] = (of[code] or 0) + 1
end

-- What of the stream's messages lies between where the device was and where it is.
local function count_passed(stream, token, was, cursor, first, last, exceptions)
  local listed, messages = is_listed(stream[1]), stream[2]
  for i = 2 * first - 1, 2 * last - 1, 2 do
    local offset, id = tonumber(messages[i]), messages[i + 1]
    local exception = exceptions[messages[i]]
    local code, wrote = ACKNOWLEDGED, true
    if exception then
      code, wrote = exception[1], exception[2]
    end
    if was.over and code ~= ACKNOWLEDGED then code = '' end
    local written_now = wrote and offset > was.position and offset <= cursor.position
    local done_now = code ~= '' and offset > was.cursor and offset <= cursor.offset
    -- Read again before the cursor, and acknowledged after all: a line takes that as often as it comes.
    if listed and code == ACKNOWLEDGED and offset <= cursor.own then done_now = true end
    if listed then
      if done_now then
        record_outcome(stream[1], id, token, code, wrote)
      elseif written_now then
        note_written(id, token)
      end
    else
      if written_now then written[id] = (written[id] or 0) + 1 end
      if done_now then add(done, id, code) end
    end
  end
end

-- With counters, what was counted before is replaced; it is known only from what the record says: the
-- cursor of this session, which passed it with that code, is stored (`was`: where it was before this call).
-- Told again, one that is not passed by this call may have been counted by the first: what is counted remains.
local function count_late(stream, token, late, is_holder, was)
  for _, item in ipairs(late) do
    local id, offset, code = item[1], item[2], item[3]
    if is_listed(stream) then
      record_outcome(stream, id, token, ACKNOWLEDGED, true)
    elseif is_holder and was and offset > was.cursor or is_holder and code == '' and not is_again then
      add(done, id, ACKNOWLEDGED)
    elseif is_holder and was and offset > was.began and not is_again then
      add(replaced, id, code)
    end
  end
end

-- How far a session came: all that it tells of is its own when it follows the stream no more.
local function reached(item)
  local position = math.max(item[4], item[5])
  return { offset = item[10] and position or item[4], position = position, own = item[4] }
end

-- The session is the device's no more, or follows the stream no more; but what it was handed it was,
-- and what it acknowledged as well. Where there is a line per device that is counted once anyhow.
local function count_last_words(stream, token, item)
  if is_listed(stream[1]) then
    local was = { cursor = 0, position = 0, over = true }
    count_passed(stream, token, was, reached(item), item[6], item[7], item[8])
  end
end

-- Where there are counters, all that the device had not finished with, when it ceased to follow, was
-- counted then: that is replaced. Each time that it did so is moved on, and counts nothing twice.
local function count_after_end(stream, token, session, item)
  local key = ended_key(token)
  local kept = redis.call('HGET', key, stream[1])
  if not kept then return end
  local messages, exceptions, cursor = stream[2], item[8], reached(item)
  local left = {}
  local pattern = '(%S+) (%d+) (%d+) (%d+) ([^,]+),'
  for holder, done_to, written_to, to, code in string.gmatch(kept, pattern) do
    if holder == session then
      local was = { offset = tonumber(done_to), position = tonumber(written_to) }
      local last = tonumber(to)
      for i = 2 * item[6] - 1, 2 * item[7] - 1, 2 do
        local offset, id = tonumber(messages[i]), messages[i + 1]
        local exception = exceptions[messages[i]]
        local wrote = not exception or exception[2]
        if offset <= last and wrote then
          if offset > was.position and offset <= cursor.position then written[id] = (written[id] or 0) + 1 end
          if not exception and offset > was.offset and offset <= cursor.offset then
            -- What had left the log before was counted then, for all who had not finished with it.
            local gone = redis.call('HMGET', message_key(id), LEDGER_CLOSED_WITH, LEDGER_CLOSED_AT)
            if gone[1] and tonumber(gone[2] or '0') <= last then
              add(done, id, ACKNOWLEDGED)
            else
              add(replaced, id, code)
            end
          end
        end
      end
      done_to = str(math.min(math.max(was.offset, cursor.offset), last))
      written_to = str(math.min(math.max(was.position, cursor.position), last))
    end
    if done_to ~= to then
      left[#left + 1] = table.concat({ holder, done_to, written_to, to, code }, ' ') .. ','
    end
  end
  if #left > 0 then
    redis.call('HSET', key, stream[1], table.concat(left))
  else
    redis.call('HDEL', key, stream[1])
  end
end

for i, item in ipairs(cursors) do
  local token, session, stream = item[1], item[2], streams[item[3]]
  local record, name = device_key(token), stream[1]
  local cursor_field, position_field = DEVICE_CURSOR .. name, DEVICE_POSITION .. name
  local start_field = DEVICE_START .. name
  local kept = redis.call('HMGET', record, DEVICE_SESSION, cursor_field, position_field, start_field)
  local was
  count_after_end(stream, token, session, item)
  if item[10] then count_last_words(stream, token, item) end
  if kept[1] ~= session then
    lost[#lost + 1] = i
    count_last_words(stream, token, item)
  elseif kept[2] then
    was = { cursor = tonumber(kept[2]), began = tonumber(kept[4] or '0') }
    was.position = math.max(tonumber(kept[3] or '0'), was.cursor)
    local cursor = { offset = math.max(item[4], was.cursor), own = item[4] }
    cursor.position = math.max(item[5], cursor.offset, was.position)
    count_passed(stream, token, was, cursor, item[6], item[7], item[8])
    if cursor.offset > was.cursor then
      redis.call('HSET', record, cursor_field, str(cursor.offset))
      if name == 'dev:' .. token then trim_acknowledged(name, cursor.offset) end
    end
    if cursor.position > cursor.offset then
      if cursor.position > was.position then
        redis.call('HSET', record, position_field, str(cursor.position))
      end
    elseif kept[3] then
      redis.call('HDEL', record, position_field)
    end
  else
    count_last_words(stream, token, item)
  end
  count_late(name, token, item[9], kept[1] == session, was)
end

for id, count in pairs(written) do
  count_written(id, count)
end
for id, codes in pairs(done) do
  for code, count in pairs(codes) do
    count_outcome(id, code, count)
  end
end
for id, codes in pairs(replaced) do
  for code, count in pairs(codes) do
    replace_outcome(id, code, count)
  end
end
return lost
