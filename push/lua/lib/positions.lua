-- How far users are in a conversation: "<delivered> <read>" of each.
-- uses: conversation

-- {delivered, read}. Who joined later has nothing before that to read.
local function positions_of(owner, user, joined)
  local text = redis.call('HGET', positions_key(owner), user) or ''
  local delivered, read = string.match(text, '^(%d+) (%d+)$')
  return {
    delivered = math.max(tonumber(delivered or '0'), joined),
    read = math.max(tonumber(read or '0'), joined),
  }
end

local function store_positions(owner, user, positions)
  local text = str(positions.delivered) .. ' ' .. str(positions.read)
  redis.call('HSET', positions_key(owner), user, text)
end
