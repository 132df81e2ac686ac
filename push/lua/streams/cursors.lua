-- Move cursors forward, count in the ledger what they passed, and trim what nobody needs any more.
-- Counting goes from where the record says that the device was, so that a call which is made again,
-- or by a session that read the same once more, counts nothing twice.
-- KEYS: clock.
-- ARGV: {messages, moves} as msgpack (see push/streams/cursors/moves.py); 'replay' when the same was told to
-- another master, '' the first time.
-- Messages are offset, id, offset, id, ...: those that a cursor has to tell of.
-- A move is stream, offset, position, first, last, more, n, and then n times token, session: of all holders
-- whose cursors move alike. All up to `offset` is done, all up to `position` was handed out. It covers the
-- messages from number `first` to `last`. `more` is {exceptions, late, is last}, or false where all was
-- acknowledged and nothing else is to be said. Exceptions, by offset, are what was not acknowledged, as
-- {code, written}; the code '' counts as nothing. `late` are messages that a cursor passed for another reason
-- and that were acknowledged after that, as {id, offset, code}: the code by which the cursor's passing counts
-- where there are counters, '' if it counts as nothing. `is last`: the session no longer follows the stream;
-- each message that it covers has its end, wherever the cursor is.
-- Returns the numbers (from 1) of the holders whose session is not the record's any more.
-- uses: fields, devices, ledger, outcomes, counters, trim, ended
local MOVE_VALUES = 7
local NO_EXCEPTIONS, NOTHING_LATE = {}, {}
local messages, moves = unpack(cmsgpack.unpack(ARGV[1]))
local is_replay = ARGV[2] == 'replay'
local lost = {}
local written = {}
local done = {}
local replaced = {}

-- The move that is made.
local stream, offset, position, first, last, more, holders
local exceptions, late, is_last = NO_EXCEPTIONS, NOTHING_LATE, false
local listed, cursor_field, position_field

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

-- What becomes of the message at `at` by this move: its code, and whether it was written.
local function ending_of(at)
  local exception = exceptions[at]
  if exception then return exception[1], exception[2] end
  return ACKNOWLEDGED, true
end

-- The messages that the move covers, where the ledger has a line for each device. The device had done all up to
-- `done_before` and was handed all up to `handed_before`; now these are `done_to` and `handed_to`.
-- Up to `acknowledged_to` what is read again before the cursor, and acknowledged after all, is counted as well: a
-- line takes that as often as it comes.
local function count_lines(token, done_before, done_to, handed_before, handed_to, acknowledged_to)
  for i = 2 * first - 1, 2 * last - 1, 2 do
    local at, id = messages[i], messages[i + 1]
    local code, wrote = ending_of(at)
    local again = code == ACKNOWLEDGED and at <= acknowledged_to
    if again or code ~= '' and at > done_before and at <= done_to then
      record_outcome(stream, id, token, code, wrote)
    elseif wrote and at > handed_before and at <= handed_to then
      note_written(id, token)
    end
  end
end

-- The same where there are counters, of so many devices that were and are in the same places.
local function count_alike(count, done_before, done_to, handed_before, handed_to)
  for i = 2 * first - 1, 2 * last - 1, 2 do
    local at, id = messages[i], messages[i + 1]
    local code, wrote = ending_of(at)
    if wrote and at > handed_before and at <= handed_to then written[id] = (written[id] or 0) + count end
    if code ~= '' and at > done_before and at <= done_to then add(done, id, code, count) end
  end
end

-- With counters, what was counted before is replaced; it is known only from what the record says: the
-- cursor of this session, which passed it with that code, is stored. `done_before`: where it was before this
-- call, nil if the session does not follow; `began`: where it began to follow.
-- In a replay, one that is not passed by this call may have been counted by the first: what is counted remains.
local function count_late(token, is_holder, done_before, began)
  for _, message in ipairs(late) do
    local id, at, code = unpack(message)
    if listed then
      record_outcome(stream, id, token, ACKNOWLEDGED, true)
    elseif is_holder and done_before and at > done_before or is_holder and code == '' and not is_replay then
      add(done, id, ACKNOWLEDGED)
    elseif is_holder and done_before and at > began and not is_replay then
      add(replaced, id, code)
    end
  end
end

-- How far a session came: what it has done, which is all that it covers when it no longer follows the stream;
-- and what it was handed.
local function reached()
  local handed = math.max(offset, position)
  return is_last and handed or offset, handed
end

-- The session is no longer the device's, or no longer follows the stream; but what it was handed it was,
-- and what it acknowledged as well. Where there is a line per device that is counted once anyhow.
local function count_last_words(token)
  if not listed then return end
  local acknowledged_to, handed_to = reached()
  count_lines(token, 0, 0, 0, handed_to, acknowledged_to)
end

-- One time that the session ceased to follow: it had done all up to `done_before`, was handed all up to
-- `handed_before`, and what it had not finished with, up to `to`, was counted with `code`.
local function count_ended(done_before, handed_before, to, code)
  local done_to, handed_to = reached()
  for i = 2 * first - 1, 2 * last - 1, 2 do
    local at, id = messages[i], messages[i + 1]
    local ending, wrote = ending_of(at)
    if at <= to and wrote then
      if at > handed_before and at <= handed_to then written[id] = (written[id] or 0) + 1 end
      if ending == ACKNOWLEDGED and at > done_before and at <= done_to then
        -- What had left the log before was counted then, for all who had not finished with it.
        local gone = redis.call('HMGET', message_key(id), LEDGER_CLOSED_WITH, LEDGER_CLOSED_AT)
        if gone[1] and tonumber(gone[2] or '0') <= to then
          add(done, id, ACKNOWLEDGED)
        else
          add(replaced, id, code)
        end
      end
    end
  end
  return math.min(math.max(done_before, done_to), to), math.min(math.max(handed_before, handed_to), to)
end

-- Where there are counters, all that the device had not finished with, when it ceased to follow, was
-- counted then: that is replaced. Each time that it did so is moved on, and counts nothing twice.
local function count_after_end(token, session)
  local key = ended_key(token)
  local kept = redis.call('HGET', key, stream)
  if not kept then return end
  local left = {}
  local pattern = '(%S+) (%d+) (%d+) (%d+) ([^,]+),'
  for holder, done_to, handed_to, to, code in string.gmatch(kept, pattern) do
    if holder == session then
      local now_done, now_handed = count_ended(tonumber(done_to), tonumber(handed_to), tonumber(to), code)
      done_to, handed_to = str(now_done), str(now_handed)
    end
    if done_to ~= to then
      left[#left + 1] = table.concat({ holder, done_to, handed_to, to, code }, ' ') .. ','
    end
  end
  if #left > 0 then
    redis.call('HSET', key, stream, table.concat(left))
  else
    redis.call('HDEL', key, stream)
  end
end

-- The record says where the device is now; `done_text` is `done_to`.
local function store_cursor(record, kept_position, done_before, done_to, done_text, handed_before, handed_to)
  if done_to > done_before then redis.call('HSET', record, cursor_field, done_text) end
  if handed_to > done_to then
    if handed_to > handed_before then redis.call('HSET', record, position_field, str(handed_to)) end
  elseif kept_position then
    redis.call('HDEL', record, position_field)
  end
end

local holder_number = 0
local at = 1
while at <= #moves do
  stream, offset, position, first, last, more, holders = unpack(moves, at, at + MOVE_VALUES - 1)
  at = at + MOVE_VALUES
  if more then
    exceptions, late, is_last = unpack(more)
  else
    exceptions, late, is_last = NO_EXCEPTIONS, NOTHING_LATE, false
  end
  listed, cursor_field, position_field = is_listed(stream), DEVICE_CURSOR .. stream, DEVICE_POSITION .. stream
  local first_offset = first <= last and messages[2 * first - 1] or 0
  -- `alike`: so many before were in the same places; they are counted together.
  local alike, cursor, handed, done_before, done_to, done_text, handed_before, handed_to
  for i = at, at + 2 * holders - 1, 2 do
    local token, session = moves[i], moves[i + 1]
    local record = device_key(token)
    holder_number = holder_number + 1
    local kept = redis.call('HMGET', record, DEVICE_SESSION, cursor_field, position_field)
    local is_holder = kept[1] == session
    local follows = is_holder and kept[2]
    if alike and follows and kept[2] == cursor and kept[3] == handed then
      alike = alike + 1 -- by far the commonest; neither late nor the last
    else
      local cursor_before = follows and tonumber(kept[2])
      if is_last or not follows or first_offset <= cursor_before then
        -- Else it covers nothing from before it began to follow.
        count_after_end(token, session)
      end
      if is_last or not follows then count_last_words(token) end
      if not is_holder then lost[#lost + 1] = holder_number end
      if follows then
        if alike then count_alike(alike, done_before, done_to, handed_before, handed_to) end
        cursor, handed = kept[2], kept[3]
        done_before = cursor_before
        handed_before = handed and math.max(tonumber(handed), done_before) or done_before
        done_to = math.max(offset, done_before)
        done_text = offset_text(done_to)
        handed_to = math.max(position, done_to, handed_before)
        if listed then
          count_lines(token, done_before, done_to, handed_before, handed_to, offset)
        else
          alike = 1
        end
        if done_to > done_before and stream == 'dev:' .. token then trim_acknowledged(stream, done_text) end
      end
      if #late > 0 then
        local began = redis.call('HGET', record, DEVICE_START .. stream)
        count_late(token, is_holder, follows and done_before, tonumber(began or '0'))
      end
    end
    if follows then
      store_cursor(record, handed, done_before, done_to, done_text, handed_before, handed_to)
    end
  end
  if alike then count_alike(alike, done_before, done_to, handed_before, handed_to) end
  at = at + 2 * holders
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
