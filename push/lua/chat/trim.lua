-- Let go what the history of a conversation keeps no longer, a part at a time; a conversation of two goes
-- with the last of it.
-- KEYS: clock.
-- ARGV: the request: owner, history_ms (0 = no limit), history_count.
-- Returns 1 if there is more to do.
-- uses: request, work_queue, conversation, bounds, history, trim_history, end_conversation
local owner, PART = request.owner, 20
local bounds = bounds_of(owner)
keep_count(owner, bounds)
local first, next_ms = bounds.first, nil
local page = next_messages(owner, '', PART)
for _, message in ipairs(page) do
  local ends_ms = tonumber(message.ts) + request.history_ms
  if request.history_ms == 0 or ends_ms > now / 1000 then
    next_ms = ends_ms
    break
  end
  first = tonumber(message.seq) + 1
end
if first > bounds.first then trim_history(owner, first, bounds) end
if not next_ms and #page == PART then return done(1) end
if not next_ms and bounds.begun and request.history_ms > 0 then
  -- Those that were recalled go when the last message would have gone.
  next_ms = math.floor(redis.call('HGET', conversation_key(owner), 'at') / 1000) + request.history_ms
  if next_ms <= now / 1000 then
    if peers_of(owner) then
      end_conversation(owner, bounds.seq)
      return done(0)
    end
    if bounds.seq >= bounds.first then trim_history(owner, bounds.seq + 1, bounds) end
    next_ms = nil
  end
end
if next_ms and request.history_ms > 0 then
  schedule_work(HISTORIES, owner, next_ms)
else
  end_work(HISTORIES, owner)
end
return done(0)
