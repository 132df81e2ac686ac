-- A user is typing: on the channels only.
-- KEYS: clock.
-- ARGV: the request: owner, by, id, may_begin, rate; and `told` on the server of the other user's stream, when the
-- conversation was looked at on its own.
-- Returns 1 once it is told.
-- uses: fields, request, rate, conversation, bounds, send_access, channel
local owner, by = request.owner, request.by
local TTL_SECONDS = 30

local function tell_typing(stream, conversation)
  local head = '{"id":"' .. request.id .. '","kind":"typing","conversation":"' .. conversation
  local content = head .. '","user":"' .. by .. '","data":null}'
  announce(stream, '0', '0', TTL_SECONDS, request.id, ENTRY_TYPING, content, '0')
  return done(1)
end

local limited = rate_refusal()
if limited then return limited end
local of_two = peers_of(owner)
if of_two and request.told then return tell_typing(conversation_with(owner, by), 'user:' .. by) end
local group, refusal = open_to_send(owner, by)
if refusal then return refusal end
if group.id then return tell_typing(owner, owner) end
if not bounds_of(owner).begun and not request.may_begin then
  return refuse('not_allowed', 'a conversation with this user must exist already')
end
if not request.alone then return done(0) end
return tell_typing(conversation_with(owner, by), 'user:' .. by)
