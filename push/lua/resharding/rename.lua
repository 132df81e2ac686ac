-- What was prepared takes the place of what is there. ARGV: names.
for _, name in ipairs(ARGV) do
  -- One that SCAN gave twice is there no more, and one may have expired.
  if redis.call('EXISTS', prefix .. 'arriving:' .. name) == 1 then
    redis.call('RENAME', prefix .. 'arriving:' .. name, prefix .. name)
  end
end
return 1
