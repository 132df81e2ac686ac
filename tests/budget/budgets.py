"""The table of budgets: `python -m tests.budget --write` measures and writes its lines again."""

from __future__ import annotations

from typing import NamedTuple


class Budget(NamedTuple):
    """`today`: as it was measured last; `most`: what the test accepts."""

    work: str
    what: str
    today: float
    most: float


BUDGETS: tuple[Budget, ...] = (
    Budget("idle session, plain", "bytes", 4170, 4500),
    Budget("idle session, plain", "blocks", 47.1, 50.9),
    Budget("delivery at QoS 0, plain", "calls", 25.1, 27.1),
    Budget("delivery at QoS 0, plain", "system_calls", 1.02, 1.1),
    Budget("delivery at QoS 0, plain", "redis_commands", 0.02, 0.03),
    Budget("delivery at QoS 0, 20 messages together, plain", "calls", 11.3, 12.2),
    Budget("delivery at QoS 0, 20 messages together, plain", "system_calls", 0.06, 0.06),
    Budget("delivery at QoS 0, 20 messages together, plain", "redis_commands", 0.02, 0.02),
    Budget("delivery at QoS 1, plain", "calls", 68.2, 73.7),
    Budget("delivery at QoS 1, plain", "system_calls", 2.04, 2.21),
    Budget("delivery at QoS 1, plain", "redis_commands", 0.5, 0.54),
    Budget("delivery at QoS 1, 20 messages together, plain", "calls", 16.5, 17.8),
    Budget("delivery at QoS 1, 20 messages together, plain", "system_calls", 0.11, 0.12),
    Budget("delivery at QoS 1, 20 messages together, plain", "redis_commands", 0.15, 0.16),
    Budget("idle session after messages at QoS 1, plain", "bytes", 5380, 5810),
    Budget("idle session after messages at QoS 1, plain", "blocks", 51.5, 55.6),
    Budget("push by HTTP, plain", "calls", 863, 933),
    Budget("push by HTTP, plain", "system_calls", 8, 8.64),
    Budget("push by HTTP, plain", "redis_commands", 13, 14.1),
    Budget("push by HTTP, 32 together, plain", "calls", 577, 624),
    Budget("push by HTTP, 32 together, plain", "system_calls", 3.16, 3.79),
    Budget("push by HTTP, 32 together, plain", "redis_commands", 8.16, 8.81),
    Budget("item of a batch by HTTP, plain", "calls", 282, 305),
    Budget("item of a batch by HTTP, plain", "system_calls", 0.41, 0.61),
    Budget("item of a batch by HTTP, plain", "redis_commands", 8.73, 9.43),
    Budget("heartbeat, 32 together, plain", "calls", 88, 95.1),
    Budget("heartbeat, 32 together, plain", "system_calls", 2, 2.63),
    Budget("heartbeat, 32 together, plain", "redis_commands", 0, 0.1),
    Budget("CONNECT, plain", "calls", 1430, 1550),
    Budget("CONNECT, plain", "system_calls", 20.3, 21.9),
    Budget("CONNECT, plain", "redis_commands", 19.1, 20.6),
    Budget("CONNECT, 32 together, plain", "calls", 813, 878),
    Budget("CONNECT, 32 together, plain", "system_calls", 7.97, 8.61),
    Budget("CONNECT, 32 together, plain", "redis_commands", 12.7, 13.7),
    Budget("idle session, TLS", "bytes", 28650, 30940),
    Budget("idle session, TLS", "blocks", 58.4, 63.1),
    Budget("delivery at QoS 0, TLS", "calls", 35.5, 38.3),
    Budget("delivery at QoS 0, TLS", "system_calls", 1.05, 1.14),
    Budget("delivery at QoS 0, TLS", "redis_commands", 0.06, 0.06),
    Budget("delivery at QoS 0, 20 messages together, TLS", "calls", 12.7, 13.7),
    Budget("delivery at QoS 0, 20 messages together, TLS", "system_calls", 0.06, 0.06),
    Budget("delivery at QoS 0, 20 messages together, TLS", "redis_commands", 0.04, 0.04),
    Budget("delivery at QoS 1, TLS", "calls", 94.3, 102),
    Budget("delivery at QoS 1, TLS", "system_calls", 2.1, 2.27),
    Budget("delivery at QoS 1, TLS", "redis_commands", 0.66, 0.72),
    Budget("delivery at QoS 1, 20 messages together, TLS", "calls", 20.2, 21.8),
    Budget("delivery at QoS 1, 20 messages together, TLS", "system_calls", 0.12, 0.13),
    Budget("delivery at QoS 1, 20 messages together, TLS", "redis_commands", 0.22, 0.24),
    Budget("idle session after messages at QoS 1, TLS", "bytes", 38310, 41380),
    Budget("idle session after messages at QoS 1, TLS", "blocks", 69.8, 75.4),
    Budget("CONNECT, TLS", "calls", 1820, 1960),
    Budget("CONNECT, TLS", "system_calls", 25.4, 27.4),
    Budget("CONNECT, TLS", "redis_commands", 19.1, 20.7),
)
