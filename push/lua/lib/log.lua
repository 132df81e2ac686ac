-- The log of a stream, and what is kept beside it: which entry has a collapse key, up to where something
-- was lost, and when its first entry expires.
local EXPIRY_KEY = prefix .. 'expiry'

local function log_key(stream) return prefix .. 'log:' .. stream end

local function collapse_key(stream) return prefix .. 'collapse:' .. stream end

local function lost_key(stream) return prefix .. 'lost:' .. stream end

-- Nothing waits in a log any more: nothing of it stays. Returns whether that is so.
local function delete_if_empty(stream)
  local log = log_key(stream)
  if redis.call('XLEN', log) > 0 then return false end
  redis.call('DEL', log, collapse_key(stream))
  redis.call('ZREM', EXPIRY_KEY, stream)
  return true
end
