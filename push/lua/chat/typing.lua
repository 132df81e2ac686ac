-- A user is typing: on the channels only. Request: owner, by, id, may_begin; and `told` on the server of
-- the other user's stream, when the conversation was looked at on its own. Returns 1 once it is told.
local owner, by = request.owner, request.by
local TTL_SECONDS = 30

local function tell_typing(stream, conversation)
  local body = '{"id":"' .. request.id .. '","kind":"typing","conversation":"' .. conversation
    .. '","user":"' .. by .. '","data":null}'
  announce(channel_of(stream), '0', 0, TTL_SECONDS, request.id, 't', body)
  return done(1)
end

local one, other = peers_of(owner)
if one and request.told then
  return tell_typing('user:' .. (one == by and other or one), 'user:' .. by)
end
local group, _, refusal = open(owner, by, 'send')
if refusal then return refusal end
if group.id then return tell_typing(owner, owner) end
if not bounds_of(owner).begun and not request.may_begin then
  return refuse('not_allowed', 'a conversation with this user must exist already')
end
if not request.alone then return done(0) end
return tell_typing('user:' .. (one == by and other or one), 'user:' .. by)
