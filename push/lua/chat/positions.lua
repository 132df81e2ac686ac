-- How far a user is in a conversation.
-- KEYS: clock.
-- ARGV: the request: owner, by, delivered and read (seq, as far as they are to move), receipts_up_to (members),
-- and id for the receipt.
-- Returns seq, delivered, read.
-- uses: request, conversation, bounds, access, positions, group_keys, push, user_post
local owner, by = request.owner, request.by
local group, actor, refusal, bounds = open_to_read(owner, by)
if refusal then return refusal end
local last = bounds.seq
for _, field in ipairs({ 'delivered', 'read' }) do
  if (request[field] or 0) > last then
    return refuse('invalid', '`' .. field .. '` is after the last message, ' .. str(last), field)
  end
end
local before = positions_of(owner, by, actor.joined_seq)
local read = math.max(before.read, request.read or 0)
local positions = { read = read, delivered = math.max(before.delivered, request.delivered or 0, read) }

local function receipt(conversation)
  local head = '{"id":"' .. request.id .. '","kind":"receipt","conversation":"' .. conversation
  local up_to = '","delivered":' .. str(positions.delivered) .. ',"read":' .. str(positions.read)
  return head .. '","user":"' .. by .. up_to .. ',"data":null}'
end

-- A newer receipt of the same user takes the place of one that was not read yet.
local function key(conversation) return 'receipt ' .. conversation .. ' ' .. by end

if positions.read > before.read or positions.delivered > before.delivered then
  store_positions(owner, by, positions)
  note_there(owner, bounds, by)
  if not group.id then
    for _, user in ipairs({ peers_of(owner) }) do
      local conversation = conversation_with(owner, user)
      post_to_user(user, request.id, receipt(conversation), key(conversation))
    end
  elseif redis.call('ZCARD', names_key(group.id)) <= request.receipts_up_to then
    post_push(owner, request.id, receipt(owner), key(owner))
  else
    post_to_user(by, request.id, receipt(owner), key(owner))
  end
end
return done(str(last), str(positions.delivered), str(positions.read))
