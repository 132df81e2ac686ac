-- A conversation. `owner` names it: conversation:<owner> has the last seq, the first that is kept and when the
-- last message came (us); history:<owner> has the messages (history.lua); recalled:<owner> who sent those that
-- were recalled; positions:<owner> how far each user is (positions.lua).
-- A conversation of two may also have `begin`, its first seq if that was not 1; `begin:<user>`, the first
-- seq that is for a user who was erased and may exist again; `erased`, which of the two is erased.
-- Every conversation has a field for each user who has written in it, see activity.lua.
local HISTORIES = 'histories' -- a queue: in which something is to be let go, see trim.lua

local function conversation_key(owner) return prefix .. 'conversation:' .. owner end

local function history_key(owner) return prefix .. 'history:' .. owner end

local function recalled_key(owner) return prefix .. 'recalled:' .. owner end

local function positions_key(owner) return prefix .. 'positions:' .. owner end

-- The two of a conversation of two, nil for a group.
local function peers_of(owner) return string.match(owner, '^chat:(.+),(.+)$') end

-- The other one, as `user` sees it.
local function conversation_with(owner, user)
  local one, other = peers_of(owner)
  return 'user:' .. (user == one and other or one)
end

local function last_seq(owner) return tonumber(redis.call('HGET', conversation_key(owner), 'seq') or '0') end
