"""`GET /v1/stream`: what a client asks for, and answers other than the events themselves."""
