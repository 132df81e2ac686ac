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
    Budget("idle session, plain", "bytes", 4060, 4380),
    Budget("idle session, plain", "blocks", 46.7, 50.5),
    Budget("delivery at QoS 0, plain", "calls", 8.65, 9.34),
    Budget("delivery at QoS 0, plain", "system_calls", 1.03, 1.11),
    Budget("delivery at QoS 0, plain", "redis_commands", 0.027, 0.047),
    Budget("delivery at QoS 0, 20 messages together, plain", "calls", 2.09, 2.25),
    Budget("delivery at QoS 0, 20 messages together, plain", "system_calls", 0.052, 0.062),
    Budget("delivery at QoS 0, 20 messages together, plain", "redis_commands", 0.018, 0.023),
    Budget("delivery at QoS 1, plain", "calls", 52.5, 56.7),
    Budget("delivery at QoS 1, plain", "system_calls", 2.04, 2.21),
    Budget("delivery at QoS 1, plain", "redis_commands", 0.508, 0.708),
    Budget("delivery at QoS 1, 20 messages together, plain", "calls", 15.8, 17.1),
    Budget("delivery at QoS 1, 20 messages together, plain", "system_calls", 0.107, 0.128),
    Budget("delivery at QoS 1, 20 messages together, plain", "redis_commands", 0.157, 0.357),
    Budget("idle session after messages at QoS 1, plain", "bytes", 4460, 4820),
    Budget("idle session after messages at QoS 1, plain", "blocks", 48.2, 52.1),
    Budget("push by HTTP, plain", "calls", 786, 849),
    Budget("push by HTTP, plain", "system_calls", 8, 8.64),
    Budget("push by HTTP, plain", "redis_commands", 12, 13),
    Budget("push by HTTP, 32 together, plain", "calls", 488, 527),
    Budget("push by HTTP, 32 together, plain", "system_calls", 3.16, 3.79),
    Budget("push by HTTP, 32 together, plain", "redis_commands", 7.16, 8.1),
    Budget("item of a batch by HTTP, plain", "calls", 230, 249),
    Budget("item of a batch by HTTP, plain", "system_calls", 0.41, 0.61),
    Budget("item of a batch by HTTP, plain", "redis_commands", 7.73, 8.35),
    Budget("heartbeat, 32 together, plain", "calls", 89, 96.2),
    Budget("heartbeat, 32 together, plain", "system_calls", 2, 2.63),
    Budget("heartbeat, 32 together, plain", "redis_commands", 0, 0.938),
    Budget("CONNECT, plain", "calls", 1480, 1600),
    Budget("CONNECT, plain", "system_calls", 20.7, 22.3),
    Budget("CONNECT, plain", "redis_commands", 19.1, 20.7),
    Budget("CONNECT, 32 together, plain", "calls", 811, 876),
    Budget("CONNECT, 32 together, plain", "system_calls", 7.97, 8.61),
    Budget("CONNECT, 32 together, plain", "redis_commands", 12.7, 13.7),
    Budget("idle session, TLS", "bytes", 28280, 30540),
    Budget("idle session, TLS", "blocks", 60.4, 65.3),
    Budget("delivery at QoS 0, TLS", "calls", 16.3, 17.6),
    Budget("delivery at QoS 0, TLS", "system_calls", 1.05, 1.14),
    Budget("delivery at QoS 0, TLS", "redis_commands", 0.054, 0.094),
    Budget("delivery at QoS 0, 20 messages together, TLS", "calls", 3.32, 3.58),
    Budget("delivery at QoS 0, 20 messages together, TLS", "system_calls", 0.053, 0.064),
    Budget("delivery at QoS 0, 20 messages together, TLS", "redis_commands", 0.035, 0.045),
    Budget("delivery at QoS 1, TLS", "calls", 72, 77.8),
    Budget("delivery at QoS 1, TLS", "system_calls", 2.09, 2.26),
    Budget("delivery at QoS 1, TLS", "redis_commands", 0.616, 0.816),
    Budget("delivery at QoS 1, 20 messages together, TLS", "calls", 18.7, 20.2),
    Budget("delivery at QoS 1, 20 messages together, TLS", "system_calls", 0.112, 0.134),
    Budget("delivery at QoS 1, 20 messages together, TLS", "redis_commands", 0.213, 0.413),
    Budget("idle session after messages at QoS 1, TLS", "bytes", 29090, 31420),
    Budget("idle session after messages at QoS 1, TLS", "blocks", 69.8, 75.4),
    Budget("CONNECT, TLS", "calls", 2000, 2200),
    Budget("CONNECT, TLS", "system_calls", 26.5, 29.2),
    Budget("CONNECT, TLS", "redis_commands", 22, 24.5),
)
