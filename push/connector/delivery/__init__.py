"""From streams to sessions: fan-out, catching up, redelivery."""
