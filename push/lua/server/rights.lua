-- Every command that the daemons use, on keys of their own kind: which of them is refused to this user?
-- It runs alone: without prelude and library files.
-- KEYS: what the names of these keys begin with, which are gone in the end.
-- ARGV: a channel.
-- Returns the names of what is refused. Other errors (no memory left) are not the user's fault.
local key, channel = KEYS[1], ARGV[1]
local h, l, s, x, z = key .. ':h', key .. ':l', key .. ':s', key .. ':x', key .. ':z'
-- stylua: ignore
local calls = {
  {'TIME'},
  {'PUBLISH', channel, ''},
  {'SET', key, '1'}, {'GET', key}, {'INCR', key}, {'EXISTS', key}, {'EXPIRE', key, '60'}, {'PERSIST', key},
  {'HSET', h, 'f', '1'}, {'HSETNX', h, 'f', '1'}, {'HINCRBY', h, 'f', '1'}, {'HGET', h, 'f'},
  {'HMGET', h, 'f'}, {'HGETALL', h}, {'HEXISTS', h, 'f'}, {'HKEYS', h}, {'HLEN', h}, {'HSTRLEN', h, 'f'},
  {'HDEL', h, 'f'},
  {'RPUSH', l, '1'}, {'LLEN', l}, {'LPOP', l},
  {'SADD', s, '1'}, {'SMEMBERS', s}, {'SISMEMBER', s, '1'}, {'SCARD', s}, {'SREM', s, '1'},
  {'XADD', x, '1', 'f', '1'}, {'XLEN', x}, {'XRANGE', x, '-', '+'}, {'XREVRANGE', x, '+', '-'},
  {'XREAD', 'COUNT', '1', 'STREAMS', x, '0'}, {'XTRIM', x, 'MINID', '1'}, {'XDEL', x, '1'},
  {'ZADD', z, '1', 'm'}, {'ZCARD', z}, {'ZSCORE', z, 'm'}, {'ZSCAN', z, '0'}, {'ZRANGEBYSCORE', z, '-inf', '+inf'},
  {'ZRANGEBYLEX', z, '-', '+'}, {'ZRANGE', z, '0', '0'}, {'ZREVRANGEBYSCORE', z, '+inf', '-inf'},
  {'ZREM', z, 'm'},
  {'ZREMRANGEBYSCORE', z, '1', '1'}, {'ZREMRANGEBYRANK', z, '0', '0'},
  {'DEL', key, h, l, s, x, z},
}
local refused = {}
for _, call in ipairs(calls) do
  local answer = redis.pcall(unpack(call))
  local text = type(answer) == 'table' and answer.err or ''
  -- Redis 6.2 says it in other words than those after it.
  if string.find(text, 'NOPERM', 1, true) or string.find(text, 'executing the script can', 1, true) then
    refused[#refused + 1] = call[1]
  end
end
return refused
