-- Bans: what is banned, until when in ms ('0' = until it is lifted).
local BANS_KEY = prefix .. 'bans'

-- Kicks that not every connector has confirmed, by when they were kept: the order as JSON.
local KICKS_KEY = prefix .. 'kicks'
