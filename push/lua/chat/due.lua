-- Claim members of a sorted set whose time has come: nobody else claims them for some seconds, a little
-- longer than a call may take. Who has them may be unable to give them back because this server was
-- killed. Request: key, pause_ms that they may wait before, limit.
local CLAIMED_MS = 10000
local now_ms = math.floor(now / 1000)
return done(claim_due(prefix .. request.key, now_ms - request.pause_ms, now_ms + CLAIMED_MS,
  request.limit))
