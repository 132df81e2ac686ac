"""The base of every route: requests, problems, the site, OpenAPI."""
