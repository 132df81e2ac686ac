"""The requests of the HTTP API, one file a resource."""
