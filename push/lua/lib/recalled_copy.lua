-- A message that was recalled before its copy came is not copied any more.

local function recalled_copy_key(user, message) return prefix .. 'recalled-copy:' .. user .. ',' .. message end
