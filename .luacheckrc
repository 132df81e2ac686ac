-- Settings of luacheck for the scripts of push/lua. It sees each file alone, so it is told of the names that
-- the file gets: those of Redis, of the prelude, and of the library files behind `-- uses:` in its header.
std = 'lua51'
max_line_length = 115
ignore = {'122'} -- a field of another file's table may be set: `WORK`, `ended`, `request`

local LIB = 'push/lua/lib/'
local REDIS = {'redis', 'cjson', 'cmsgpack', 'KEYS', 'ARGV'}

-- The lines of a file, the names that it defines for those that use it, and the library files that it uses.
local function read(path)
  local names, uses, in_header = {}, {}, true
  for line in io.lines(path) do
    in_header = in_header and line:sub(1, 2) == '--'
    if in_header and line:match('^%-%- uses:') then
      for name in line:sub(9):gmatch('[%w_]+') do uses[#uses + 1] = name end
    end
    local functions = line:match('^local function ([%w_]+)')
    if functions then names[#names + 1] = functions end
    local variables = not functions and line:match('^local ([%w_, ]+)')
    for name in (variables or ''):gmatch('[%w_]+') do names[#names + 1] = name end
  end
  return names, uses
end

local function add(all, more)
  for _, name in ipairs(more) do all[#all + 1] = name end
end

for path in io.popen('find push/lua -name "*.lua"'):lines() do
  local _, uses = read(path)
  local known = {}
  add(known, REDIS)
  if not path:match('/server/') and path ~= LIB .. 'prelude.lua' then add(known, (read(LIB .. 'prelude.lua'))) end
  for _, name in ipairs(uses) do
    local ok, names = pcall(read, LIB .. name .. '.lua')
    if ok then add(known, names) end
  end
  files[path] = {read_globals = known}
  -- What a library file defines is used elsewhere (tests/redis/test_lua.py looks whether it is).
  if path:sub(1, #LIB) == LIB then files[path].ignore = {'122', '211'} end
end
