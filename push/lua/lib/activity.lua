-- Who has created a conversation or written in it: the field active:<user> of its record. Only these users let
-- the others of the conversation see whether they are online.
-- uses: conversation

local function active_field(user) return 'active:' .. user end

local function note_active(owner, user) redis.call('HSET', conversation_key(owner), active_field(user), '1') end

local function forget_active(owner, user) redis.call('HDEL', conversation_key(owner), active_field(user)) end
