"""Chat: groups, their members, and conversations."""
