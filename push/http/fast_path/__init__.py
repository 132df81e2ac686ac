"""The fast path: requests to the busiest routes that are plain and whole, without twisted.web's
parser and the router. Everything else of them is done by the same code."""
