"""WebSocket as data: the opening handshake, frames of RFC 6455, the JSON text form. No I/O."""
