"""From whom a push is for to the streams that it is written to."""
