"""What every route stands on: requests, problems, the site, OpenAPI."""
