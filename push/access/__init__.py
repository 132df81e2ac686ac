"""What a client may do: API keys, JWTs, bans and rate limits."""
