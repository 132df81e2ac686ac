"""HTTP: Klein apps over the parts below, and the middleware that all their requests pass."""
