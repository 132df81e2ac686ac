"""Bodies and answers of the HTTP API and of chat requests, one file a resource.

The HTTP routes, the chat service, the SDK and the OpenAPI document use these definitions; a field
is added here once. Times are milliseconds since 1970 UTC. A member of a request that may be left
out is UNSET then; null is not the same as left out.
"""
