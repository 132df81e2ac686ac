-- Where a group is kept: the record group:<id>, which is there as long as the group is; its members in
-- members:<id>, as "<role> <muted 0|1> <seq when joined> <offset when joined>", and in order in
-- member-names:<id>.

local function group_key(gid) return prefix .. 'group:' .. gid end

local function members_key(gid) return prefix .. 'members:' .. gid end

local function names_key(gid) return prefix .. 'member-names:' .. gid end
