-- What every script begins with: the server's clock and the names of keys and channels. KEYS[1] is the
-- server's clock key; the last three of ARGV, which are taken off here, are the caller's floor and deadline
-- by that clock, and what every channel begins with.
-- Offsets are microseconds since 1970: below 2^53, so a Lua number holds them exactly, but
-- tostring() would round them: `offset_text` writes them.
local DAY_SECONDS = 86400

local function offset_text(offset) return string.format('%d', offset) end

-- The text of a number that comes again in a call, as times in milliseconds do.
local texts = {}
local function str(number)
  local text = texts[number] or offset_text(number)
  texts[number] = text
  return text
end

-- What the name of every key begins with.
local prefix = string.sub(KEYS[1], 1, -6)

-- The stored clock: the last offset given to any stream of this server.
local function stored_clock() return tonumber(redis.call('GET', KEYS[1]) or '0') end

local channels = table.remove(ARGV)
local deadline = tonumber(table.remove(ARGV))
local floor = tonumber(table.remove(ARGV))

-- "Now" by the server's clock: the latest of TIME, the stored clock and the caller's floor.
local time = redis.call('TIME')
local now = math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), stored_clock(), floor)

-- A call whose caller has given up does nothing, however long it was on its way.
if now > deadline then return redis.error_reply('LATE ' .. str(now)) end

local function clock_ms() return (now - now % 1000) / 1000 end

-- The next offset. It is stored before it is used, so that it is never given twice. `more`: how many this call
-- will ask for after it, each with its own `more`; they are stored with it.
local reserved_to = 0
local function next_offset(more)
  now = more and now < reserved_to and now + 1 or math.max(now, stored_clock() + 1)
  if now > reserved_to then
    redis.call('SET', KEYS[1], str(now + (more or 0)))
    reserved_to = now + (more or 0)
  end
  return now
end
