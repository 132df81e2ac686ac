-- Claim streams in which something has expired: nobody else claims them for a minute.
-- ARGV: how many. Returns their names.
local now_ms = math.floor(now / 1000)
return claim_due(prefix .. 'expiry', now_ms, now_ms + 60000, ARGV[1])
