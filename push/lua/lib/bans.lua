-- Bans: what is banned, until when in ms ('0' = until it is lifted).
local BANS_KEY = prefix .. 'bans'
