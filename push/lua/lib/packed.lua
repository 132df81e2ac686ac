-- A reply with many lists in it, in msgpack. Redis hands each table of a Lua reply to the kernel by itself: that
-- would be a system call for each entry of a page. `RedisClient.run` takes it apart again: numbers are whole,
-- texts are bytes, and what is false stays so, where without this it would be nil.
local packed = cmsgpack.pack
