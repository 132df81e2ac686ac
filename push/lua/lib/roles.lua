-- The roles in a group, by rank.
local RANK = { member = 1, admin = 2, owner = 3, backend = 4 }
