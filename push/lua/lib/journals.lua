-- Journals: of an owner the last entries, by when they were, in a sorted set. Of each kind of journal there
-- are two more keys: when each owner had its last entry, and how many entries there are in all. That number
-- ends when no daemon has been there for hours: then journals may end by themselves, and it is counted again.
local JOURNAL_TOTAL_SECONDS = 7200

local function journal_key(kind, owner) return prefix .. kind .. ':' .. owner end

local function journal_owners_key(kind) return prefix .. kind .. '-owners' end

local function journal_total_key(kind) return prefix .. kind .. '-total' end

-- How many entries there are in all; counted when the number is not known.
local function journal_total(kind)
  local total = redis.call('GET', journal_total_key(kind))
  if total then return tonumber(total) end
  local counted = 0
  for _, owner in ipairs(redis.call('ZRANGE', journal_owners_key(kind), '0', '-1')) do
    counted = counted + redis.call('ZCARD', journal_key(kind, owner))
  end
  return counted
end

local function store_journal_total(kind, total)
  if total > 0 then
    redis.call('SET', journal_total_key(kind), str(total), 'EX', JOURNAL_TOTAL_SECONDS)
  else
    redis.call('DEL', journal_total_key(kind))
  end
end

-- Drop all that there is of an owner; returns how many entries that were.
local function drop_journal(kind, owner)
  local key = journal_key(kind, owner)
  local count = redis.call('ZCARD', key)
  redis.call('DEL', key)
  redis.call('ZREM', journal_owners_key(kind), owner)
  return count
end

-- The owner is gone.
local function forget_journal(kind, owner)
  if redis.call('EXISTS', journal_key(kind, owner)) == 0 then return end
  store_journal_total(kind, journal_total(kind) - drop_journal(kind, owner))
end
