"""HTTP: Klein apps over the parts below, and the edge that all their requests pass."""
