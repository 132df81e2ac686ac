"""From the targets of a push to the streams that it is written to."""
