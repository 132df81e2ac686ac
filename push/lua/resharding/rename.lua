-- What was prepared takes the place of what is there.
-- KEYS: clock.
-- ARGV: names.
-- Returns 1.
for _, name in ipairs(ARGV) do
  -- One that SCAN gave twice was renamed before, and one may have expired.
  local prepared = prefix .. 'arriving:' .. name
  if redis.call('EXISTS', prepared) == 1 then redis.call('RENAME', prepared, prefix .. name) end
end
return 1
