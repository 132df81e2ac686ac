-- Move cursors forward, count in the ledger what they passed, and trim what nobody needs any more.
-- Counting goes from where the record says that the device was, so that a call which is made again,
-- or by a session that read the same once more, counts nothing twice.
-- KEYS: clock.
-- ARGV: streams and cursors as msgpack (see push/streams/cursors/moves.py); 'again' when the same was told to
-- another master, '' the first time.
-- A stream is {name, offset, id, offset, id, ...}: messages that one of its cursors has to tell of.
-- A move is {number of its stream, offset, position, first, last, more, token, session, token, session, ...}, of
-- all these holders: all up to `offset` is done, all up to `position` was handed out. It covers the messages
-- from number `first` to `last` of its stream. `more` is {exceptions, late, is last}, or false where all was
-- acknowledged and nothing else is to be said. Exceptions, by offset, are what was not acknowledged, as
-- {code, written}; the code '' counts as nothing. `late` are messages that a cursor passed for another reason
-- and that were acknowledged after that, as {id, offset, code}: the code by which the cursor's passing counts
-- where there are counters, '' if it counts as nothing. `is last`: the session no longer follows the stream;
-- each message that it covers has its end, wherever the cursor is.
-- Returns the numbers (from 1) of the holders whose session is not the record's any more.
-- uses: fields, devices, ledger, outcomes, counters, trim, ended
local FIRST_HOLDER = 7
local NO_MORE = { {}, {}, false }
local streams, moves = unpack(cmsgpack.unpack(ARGV[1]))
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

local function add(counts, id, code, count)
  local of = counts[id]
  if not of then
    of = {}
    counts[id] = of
  end
  of[code] = (of[code] or 0) + (count or 1)
end

-- What of the stream's messages lies between where the device was and where it is. `count`: of so many devices
-- that were and are in the same places, where there are counters.
local function count_passed(stream, token, was, cursor, first, last, exceptions, count)
  local listed = is_listed(stream[1])
  for i = 2 * first, 2 * last, 2 do
    local offset, id = stream[i], stream[i + 1]
    local exception = exceptions[offset]
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
      if written_now then written[id] = (written[id] or 0) + count end
      if done_now then add(done, id, code, count) end
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

-- How far a session came: all that it covers is its own when it no longer follows the stream.
local function reached(item)
  local offset, position, is_last = item[2], math.max(item[2], item[3]), item[6][3]
  return { offset = is_last and position or offset, position = position, own = offset }
end

-- The session is no longer the device's, or no longer follows the stream; but what it was handed it was,
-- and what it acknowledged as well. Where there is a line per device that is counted once anyhow.
local function count_last_words(stream, token, item)
  if is_listed(stream[1]) then
    local was = { cursor = 0, position = 0, over = true }
    count_passed(stream, token, was, reached(item), item[4], item[5], item[6][1])
  end
end

-- Where there are counters, all that the device had not finished with, when it ceased to follow, was
-- counted then: that is replaced. Each time that it did so is moved on, and counts nothing twice.
local function count_after_end(stream, token, session, item)
  local key = ended_key(token)
  local kept = redis.call('HGET', key, stream[1])
  if not kept then return end
  local exceptions, cursor = item[6][1], reached(item)
  local left = {}
  local pattern = '(%S+) (%d+) (%d+) (%d+) ([^,]+),'
  for holder, done_to, written_to, to, code in string.gmatch(kept, pattern) do
    if holder == session then
      local was = { offset = tonumber(done_to), position = tonumber(written_to) }
      local last = tonumber(to)
      for i = 2 * item[4], 2 * item[5], 2 do
        local offset, id = stream[i], stream[i + 1]
        local exception = exceptions[offset]
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

-- Where a device of this session was in a stream, and where it is after `item`.
local function places_of(kept, item)
  local before, own = tonumber(kept[2]), item[2]
  local position, offset = math.max(tonumber(kept[3] or '0'), before), math.max(own, before)
  local was = { cursor = before, position = position, began = tonumber(kept[4] or '0') }
  return was,
    { offset = offset, own = own, position = math.max(item[3], offset, position), text = str(offset) }
end

-- The record says where the device is now.
local function store_cursor(record, name, kept, was, cursor)
  if cursor.offset > was.cursor then redis.call('HSET', record, DEVICE_CURSOR .. name, cursor.text) end
  if cursor.position > cursor.offset then
    if cursor.position > was.position then
      redis.call('HSET', record, DEVICE_POSITION .. name, str(cursor.position))
    end
  elseif kept[3] then
    redis.call('HDEL', record, DEVICE_POSITION .. name)
  end
end

local holder_number = 0
for _, item in ipairs(moves) do
  item[6] = item[6] or NO_MORE
  local stream, first, last = streams[item[1]], item[4], item[5]
  local exceptions, late, is_last = unpack(item[6])
  local name = stream[1]
  local listed = is_listed(name)
  local cursor_field, position_field = DEVICE_CURSOR .. name, DEVICE_POSITION .. name
  local first_offset = stream[2 * first] or 0
  -- `alike`: so many before were in the same places; they are counted together.
  local alike, was, cursor, before
  for i = FIRST_HOLDER, #item, 2 do
    local token, session = item[i], item[i + 1]
    local record = device_key(token)
    holder_number = holder_number + 1
    local kept = redis.call('HMGET', record, DEVICE_SESSION, cursor_field, position_field)
    local is_holder = kept[1] == session
    local follows = is_holder and kept[2]
    if alike and follows and kept[2] == before[2] and kept[3] == before[3] then
      alike = alike + 1 -- by far the commonest; neither late nor the last
    else
      if is_last or not follows or first_offset <= tonumber(kept[2]) then
        -- Else it covers nothing from before it began to follow.
        count_after_end(stream, token, session, item)
      end
      if is_last then count_last_words(stream, token, item) end
      if not is_holder then lost[#lost + 1] = holder_number end
      if #late > 0 then kept[4] = redis.call('HGET', record, DEVICE_START .. name) end
      if not follows then
        count_last_words(stream, token, item)
      else
        if alike then count_passed(stream, nil, was, cursor, first, last, exceptions, alike) end
        before = kept
        was, cursor = places_of(kept, item)
        if listed then
          count_passed(stream, token, was, cursor, first, last, exceptions)
        else
          alike = 1
        end
        if cursor.offset > was.cursor and name == 'dev:' .. token then
          trim_acknowledged(name, cursor.offset)
        end
      end
      if #late > 0 then count_late(name, token, late, is_holder, follows and was) end
    end
    if follows then store_cursor(record, name, kept, was, cursor) end
  end
  if alike then count_passed(stream, nil, was, cursor, first, last, exceptions, alike) end
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
