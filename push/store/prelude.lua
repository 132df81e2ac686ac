-- Common head of every script. KEYS[1] is always the server's clock key.
-- Offsets are microseconds since 1970: below 2^53, so a Lua number holds them exactly, but
-- tostring() would round them: `str` writes them.
local function str(number)
  return string.format('%.0f', number)
end

-- The stored clock: the last offset given to any stream of this server.
local function stored_clock()
  return tonumber(redis.call('GET', KEYS[1]) or '0')
end

-- "Now" by the server's clock: the latest of TIME, the stored clock and the caller's floor.
local function clock_now(floor)
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local stored = stored_clock()
  if stored > now then now = stored end
  if floor and floor > now then now = floor end
  return now
end

-- The next offset, given `now`. It is stored before it is used, so that it is never given twice.
local function next_offset(now)
  local stored = stored_clock()
  if now <= stored then now = stored + 1 end
  redis.call('SET', KEYS[1], str(now))
  return now
end
