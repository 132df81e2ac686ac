-- Work that somebody has to do: the members of a sorted set, by when they are due, in ms. Who takes work may
-- be killed, so it stays in the queue until it is done, and is due again later.
-- The queues: errands, chat-errands, dismissed, erasing, histories, expiry, devices.

local function queue_key(queue) return prefix .. queue end

local function put_work(queue, member) redis.call('ZADD', queue_key(queue), str(clock_ms()), member) end

-- At most `limit` of those that were due up to `before_ms`; nobody else takes them until `until_ms`.
local function claim_work(queue, before_ms, until_ms, limit)
  local key = queue_key(queue)
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', str(before_ms), 'LIMIT', 0, limit)
  for _, member in ipairs(due) do
    redis.call('ZADD', key, str(until_ms), member)
  end
  return due
end

-- It is due at `due_ms`; the members of a queue that are due later stay as they are with `once`.
local function schedule_work(queue, member, due_ms) redis.call('ZADD', queue_key(queue), str(due_ms), member) end

local function end_work(queue, member) redis.call('ZREM', queue_key(queue), member) end
