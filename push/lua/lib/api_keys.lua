-- API keys that were made while the deployment runs: by name, '<SHA-256> <scope>,<scope> <made> <ends>', the
-- times in ms ('0' = it has no end).
local API_KEYS_KEY = prefix .. 'api-keys'

local function has_ended(stored)
  local ends = tonumber(string.match(stored, '%d+$') or '0')
  return ends ~= 0 and ends <= clock_ms()
end

local function may_administer(stored)
  local scopes = string.match(stored, '^%x+ (%S+) ') or ''
  return string.find(',' .. scopes .. ',', ',admin,', 1, true) ~= nil
end
