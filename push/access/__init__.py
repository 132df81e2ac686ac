"""Who may do what: API keys, JWTs, bans and rate limits."""
