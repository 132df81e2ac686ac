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
    Budget("idle session, plain", "bytes", 4090, 4410),
    Budget("idle session, plain", "blocks", 46.7, 50.4),
    Budget("delivery at QoS 0, plain", "calls", 8.52, 9.21),
    Budget("delivery at QoS 0, plain", "system_calls", 1.03, 1.11),
    Budget("delivery at QoS 0, plain", "redis_commands", 0.024, 0.044),
    Budget("delivery at QoS 0, 20 messages together, plain", "calls", 1.95, 2.1),
    Budget("delivery at QoS 0, 20 messages together, plain", "system_calls", 0.052, 0.056),
    Budget("delivery at QoS 0, 20 messages together, plain", "redis_commands", 0.014, 0.019),
    Budget("delivery at QoS 1, plain", "calls", 52.5, 56.7),
    Budget("delivery at QoS 1, plain", "system_calls", 2.05, 2.21),
    Budget("delivery at QoS 1, plain", "redis_commands", 0.505, 0.705),
    Budget("delivery at QoS 1, 20 messages together, plain", "calls", 15.8, 17.1),
    Budget("delivery at QoS 1, 20 messages together, plain", "system_calls", 0.107, 0.115),
    Budget("delivery at QoS 1, 20 messages together, plain", "redis_commands", 0.153, 0.353),
    Budget("idle session after messages at QoS 1, plain", "bytes", 4520, 4880),
    Budget("idle session after messages at QoS 1, plain", "blocks", 48.1, 52),
    Budget("push by HTTP, plain", "calls", 781, 843),
    Budget("push by HTTP, plain", "system_calls", 8, 8.64),
    Budget("push by HTTP, plain", "redis_commands", 12, 13),
    Budget("push by HTTP, 32 together, plain", "calls", 485, 523),
    Budget("push by HTTP, 32 together, plain", "system_calls", 3.16, 3.79),
    Budget("push by HTTP, 32 together, plain", "redis_commands", 7.16, 8.1),
    Budget("item of a batch by HTTP, plain", "calls", 228, 246),
    Budget("item of a batch by HTTP, plain", "system_calls", 0.41, 0.61),
    Budget("item of a batch by HTTP, plain", "redis_commands", 7.73, 8.35),
    Budget("heartbeat, 32 together, plain", "calls", 89, 96.1),
    Budget("heartbeat, 32 together, plain", "system_calls", 2, 2.63),
    Budget("heartbeat, 32 together, plain", "redis_commands", 0, 0.938),
    Budget("CONNECT, plain", "calls", 1490, 1610),
    Budget("CONNECT, plain", "system_calls", 21, 22.7),
    Budget("CONNECT, plain", "redis_commands", 19.1, 20.7),
    Budget("CONNECT, 32 together, plain", "calls", 803, 867),
    Budget("CONNECT, 32 together, plain", "system_calls", 7.97, 8.61),
    Budget("CONNECT, 32 together, plain", "redis_commands", 12.7, 13.7),
    Budget("idle session, TLS", "bytes", 28470, 30740),
    Budget("idle session, TLS", "blocks", 60.4, 65.2),
    Budget("delivery at QoS 0, TLS", "calls", 16.1, 17.4),
    Budget("delivery at QoS 0, TLS", "system_calls", 1.05, 1.14),
    Budget("delivery at QoS 0, TLS", "redis_commands", 0.047, 0.087),
    Budget("delivery at QoS 0, 20 messages together, TLS", "calls", 3.04, 3.28),
    Budget("delivery at QoS 0, 20 messages together, TLS", "system_calls", 0.053, 0.06),
    Budget("delivery at QoS 0, 20 messages together, TLS", "redis_commands", 0.028, 0.038),
    Budget("delivery at QoS 1, TLS", "calls", 69.6, 75.2),
    Budget("delivery at QoS 1, TLS", "system_calls", 2.09, 2.26),
    Budget("delivery at QoS 1, TLS", "redis_commands", 0.61, 0.81),
    Budget("delivery at QoS 1, 20 messages together, TLS", "calls", 18.1, 19.5),
    Budget("delivery at QoS 1, 20 messages together, TLS", "system_calls", 0.112, 0.121),
    Budget("delivery at QoS 1, 20 messages together, TLS", "redis_commands", 0.206, 0.406),
    Budget("idle session after messages at QoS 1, TLS", "bytes", 28170, 30420),
    Budget("idle session after messages at QoS 1, TLS", "blocks", 64.2, 69.3),
    Budget("CONNECT, TLS", "calls", 2060, 2230),
    Budget("CONNECT, TLS", "system_calls", 27, 29.1),
    Budget("CONNECT, TLS", "redis_commands", 24, 26.2),
)
