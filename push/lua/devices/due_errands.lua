-- Claim errands that wait for longer than they should: nobody else claims them for some seconds, a
-- little longer than a call may take.
-- ARGV: how many. Returns their texts.
local now_ms = math.floor(now / 1000)
return claim_due(prefix .. 'errands', now_ms - 1000, now_ms + 10000, ARGV[1])
