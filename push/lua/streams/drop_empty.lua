-- Look at many streams at once whose first entry was to expire by now. Most are of devices that have acknowledged
-- all, and are not asked for again.
-- KEYS: clock.
-- ARGV: streams.
-- Returns those in whose logs something waits.
-- uses: log
local left = {}
for _, stream in ipairs(ARGV) do
  if not delete_if_empty(stream) then left[#left + 1] = stream end
end
return left
