"""Webhooks: events go to endpoints of others, from an outbox that the deciding scripts fill."""
