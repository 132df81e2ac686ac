"""How far each session has come in its streams: stored, in batches."""
