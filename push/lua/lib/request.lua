-- What the scripts of chat begin with. ARGV[1]: the request as msgpack (see push/chat/actions.py).
-- They return {'ok', {errand, ...}, ...} or {'no', code, detail, field}; of a limit also when to try again (in
-- seconds), the limit's name, how many a minute it allows, and when to try again in microseconds, see rate.lua.
local request = cmsgpack.unpack(ARGV[1])

-- Work for users on other servers; see for_user.lua.
local errands_for_users = {}

local function refuse(code, detail, field) return { 'no', code, detail, field or '' } end

local function done(...) return { 'ok', errands_for_users, ... } end
