-- The log of a stream, and what is kept beside it: which entry has a collapse key, up to where something
-- was lost, and when its first entry expires, or one before it did.
local EXPIRY_KEY = prefix .. 'expiry'

local function log_key(stream) return prefix .. 'log:' .. stream end

local function collapse_key(stream) return prefix .. 'collapse:' .. stream end

local function lost_key(stream) return prefix .. 'lost:' .. stream end

-- If nothing waits in a log, nothing of it stays. Returns whether that is so.
local function delete_if_empty(stream)
  if redis.call('XLEN', log_key(stream)) > 0 then return false end
  redis.call('DEL', log_key(stream), collapse_key(stream))
  redis.call('ZREM', EXPIRY_KEY, stream)
  return true
end
