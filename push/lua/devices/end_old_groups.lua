-- What a device follows of this server's groups is as its user's membership is. (Only where there are other
-- servers it may not be so yet.)
-- KEYS: clock.
-- ARGV: token.
-- Returns nothing.
-- uses: devices, check_groups
check_groups(device_key(ARGV[1]), ARGV[1])
