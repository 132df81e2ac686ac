-- What is to be done for a device on the server of a stream that is not the device's home.
-- uses: work_queue

-- What this call has written down.
local errands = {}

-- An errand is done at once by the caller, and else by any daemon that finds it later (rule 13). It carries a
-- version of this server's clock: what is older than what was done already does nothing.
local function send_errand(verb, token, stream, detail, user)
  local version = str(next_offset())
  local text = table.concat({ verb, token, stream, version, detail or '', user or '' }, ' ')
  put_work('errands', text)
  errands[#errands + 1] = text
  return version
end

-- Returns what was written down since it was called last.
local function take_errands()
  local taken = errands
  errands = {}
  return taken
end
