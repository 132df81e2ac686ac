"""Conversations of two users and of groups, as rules over streams."""
