-- A message into a conversation: the next seq, the history, the streams.
-- KEYS: clock.
-- ARGV: the request: owner, from, id, tail (its JSON after the seq), to (for the ledger), client_id ('' for
-- none), digest (of what the client_id stands for), may_begin, rate.
-- Returns id, conversation as the sender sees it, seq, ts.
-- uses: fields, request, rate, work_queue, conversation, activity, bounds, send_access, history, trim_history
-- uses: positions, client_ids, conversation_list, addressing, post, for_user, chat_content, webhooks
local limited = rate_refusal()
if limited then return limited end
local owner, from = request.owner, request.from
local client_id = request.client_id ~= '' and request.client_id

local function mismatch(what)
  return refuse('idempotency_mismatch', 'this client_id is of ' .. what, 'client_id')
end

if client_id then
  -- With several servers the caller has asked the sender's for `owner`.
  local first = request.alone and redis.call('HGET', claimed_key(from, client_id), 'owner') or owner
  if first ~= owner then return mismatch('a message to another conversation') end
  local sent = sent_key(owner, from, client_id)
  local kept = redis.call('HMGET', sent, 'id', 'conversation', 'seq', 'ts', 'digest')
  -- Messages of versions before have no digest.
  if kept[1] and kept[5] and kept[5] ~= request.digest then return mismatch('another message') end
  if kept[1] then return done(kept[1], kept[2], kept[3], kept[4]) end
end
local group, refusal = open_to_send(owner, from)
if refusal then return refusal end
local bounds = bounds_of(owner)
local peers = { peers_of(owner) }
if #peers > 0 and not bounds.begun and not request.may_begin then
  return refuse('not_allowed', 'a conversation with this user must exist already', 'to')
end

-- A group's or direct message's order is decided here: by its seq in the conversation, and its offset.
local seq, offset = bounds.seq + 1, offset_text(next_offset())
local ts = str(clock_ms())
local conversation = group.id and owner or conversation_with(owner, from)
local key, first = conversation_key(owner), str(bounds.first)
redis.call('HSET', key, 'seq', str(seq), 'first', first, 'at', offset)
if #peers > 0 then
  if not bounds.begun and bounds.seq > 0 then redis.call('HSET', key, 'begin', first) end
  note_there(owner, bounds, from)
end
note_active(owner, from)
keep_message(owner, seq, from, request.id, ts, request.tail)
bounds.seq = seq
keep_count(owner, bounds)
if request.history_ms > 0 then
  redis.call('ZADD', queue_key(HISTORIES), 'NX', str(tonumber(ts) + request.history_ms), owner)
end
store_positions(owner, from, { delivered = seq, read = seq })
if client_id then
  local sent = sent_key(owner, from, client_id)
  -- stylua: ignore
  redis.call('HSET', sent, 'id', request.id, 'conversation', conversation, 'seq', str(seq), 'ts', ts,
    'digest', request.digest)
  redis.call('EXPIRE', sent, request.client_id_seconds)
  if request.alone then
    redis.call('HSET', claimed_key(from, client_id), 'id', request.id, 'owner', owner)
    redis.call('EXPIRE', claimed_key(from, client_id), request.client_id_seconds)
  end
end

-- The streams on this server that it comes into, and the conversation as their followers see it.
local streams, seen = {}, {}
if group.id then
  streams, seen = { owner }, { owner }
end
for i, user in ipairs(peers) do
  if request.alone then
    streams[i], seen[i] = 'user:' .. user, conversation_with(owner, user)
    note_conversation(user, seen[i], seq, ts)
  else
    for_user('copy', user, owner, str(seq))
  end
end
if #streams > 0 then begin_record(request.id, request.to, offset, request.ttl, streams) end
for i, stream in ipairs(streams) do
  local content = chat_content(request.id, seen[i], from, seq, request.tail)
  post(stream, offset, request.ttl, request.id, ENTRY_MESSAGE, content, request.keep)
end
if endpoints_for('chat.message') then
  local content = chat_content(request.id, conversation, from, seq, request.tail)
  put_event('chat.message', 'conversation:' .. owner, seq, '{"ts":' .. ts .. ',' .. string.sub(content, 2))
end
return done(request.id, conversation, str(seq), ts)
