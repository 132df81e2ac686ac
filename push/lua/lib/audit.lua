-- The audit trail: a stream for each of its parts (push/observe/audit.py).
local function audit_key(part) return prefix .. 'audit:' .. part end
