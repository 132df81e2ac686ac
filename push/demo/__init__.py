"""`make demo`: two connectors, the API and a Redis, with a network between pages and connectors
that can be cut. An asyncio program beside the daemons: it starts them as an operator would."""
