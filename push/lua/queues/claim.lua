-- Claim work whose time has come: nobody else claims it for a while, a little longer than doing it may take.
-- Who has it may be unable to give it back because this server was killed.
-- KEYS: clock.
-- ARGV: queue, for how many ms it was due before, for how many ms it is claimed, how many at most.
-- Returns the members of the queue that were claimed.
-- uses: work_queue
local now_ms = clock_ms()
return claim_work(ARGV[1], now_ms - tonumber(ARGV[2]), now_ms + tonumber(ARGV[3]), ARGV[4])
