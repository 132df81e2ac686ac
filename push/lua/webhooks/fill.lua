-- What scripts have written down goes into the outboxes of endpoints, a part at a time.
-- KEYS: clock.
-- ARGV: at most how many events.
-- Returns how many are left.
-- uses: webhook_outbox
return fill_outboxes(tonumber(ARGV[1]))
