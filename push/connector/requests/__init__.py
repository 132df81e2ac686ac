"""What a device asks for: the handshake, chat, topics."""
