-- How often a user's devices may act: GCRA. rate:<user>,<kind> is the time (us) at which all that was used is
-- free again. A key ends by itself then, within a minute.
-- uses: request

local MINUTE_US = 60000000

-- The refusal of an act that comes too soon, or nil; then it counts. `request.rate`: {user, kind, how many a
-- minute, what they are called}, absent where there is no limit or another server has counted.
local function rate_refusal()
  if not request.rate then return end
  local user, kind, per_minute, what = unpack(request.rate)
  local key = prefix .. 'rate:' .. user .. ',' .. kind
  local free_at = math.max(tonumber(redis.call('GET', key) or '0'), now) + math.ceil(MINUTE_US / per_minute)
  local wait_us = free_at - MINUTE_US - now
  if wait_us > 0 then
    local detail = 'more than ' .. str(per_minute) .. ' ' .. what .. ' a minute from devices of this user'
    local after = str(math.ceil(wait_us / 1000000))
    return { 'no', 'rate_limited', detail, '', after, kind, str(per_minute), str(wait_us) }
  end
  redis.call('SET', key, str(free_at), 'PX', str(math.ceil((free_at - now) / 1000)))
end
