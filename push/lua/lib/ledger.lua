-- The delivery ledger: what became of a message, in the hash message:<id>.
-- Fields: its target, when, its expiry (ms) and its offset (0 = not stored).
-- A message that was addressed to devices or users has a line LEDGER_LINE<token> per device:
-- "<state><written 0|1> <ms> <reason>" (outcomes.lua), and LEDGER_TOKENS<user> with the tokens it was for, if
-- by users. All counts are made of these when somebody asks.
-- Any other has counters (counters.lua): addressed, written, and one per outcome; and LEDGER_CLOSED_WITH, once
-- its entry has left the log: the counter in which those are that had not finished with it then.
-- An outcome is ACKNOWLEDGED, EXPIRED, CANCELLED or DROPPED<reason>. A device finishes with a message once;
-- only an acknowledgement that comes after all replaces what was counted before it.

-- So much longer than its message a record is kept.
local KEPT_AFTER_SECONDS = 86400

local function message_key(id) return prefix .. 'message:' .. id end

-- Whether the ledger keeps a line per device for messages of this stream.
local function is_listed(stream)
  local kind = string.sub(stream, 1, 4)
  return kind == 'dev:' or kind == 'user'
end
