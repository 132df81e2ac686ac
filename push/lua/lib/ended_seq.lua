-- Conversations of two that ended leave nothing but how far their seqs had come: the highest of all whose
-- names have the same three digits of a hash, so that this is finite. One that begins again goes on after
-- that: no seq, which a client may still remember, comes a second time.
local ENDED_SEQS_KEY = prefix .. 'ended-seqs'

local function ended_seq_field(owner) return string.sub(redis.sha1hex(owner), 1, 3) end

local function ended_seq(owner)
  return tonumber(redis.call('HGET', ENDED_SEQS_KEY, ended_seq_field(owner)) or '0')
end
