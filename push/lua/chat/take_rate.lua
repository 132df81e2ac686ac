-- An act of a user's devices counts, where the act itself is on another server.
-- KEYS: clock.
-- ARGV: the request: rate.
-- Returns nothing more.
-- uses: request, rate
return rate_refusal() or done()
