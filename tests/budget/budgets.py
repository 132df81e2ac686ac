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
    Budget("idle session, plain", "bytes", 4110, 4440),
    Budget("idle session, plain", "blocks", 46.7, 50.5),
    Budget("delivery at QoS 0, plain", "calls", 7.35, 7.94),
    Budget("delivery at QoS 0, plain", "system_calls", 1.03, 1.11),
    Budget("delivery at QoS 0, plain", "redis_commands", 0.024, 0.044),
    Budget("delivery at QoS 0, 20 messages together, plain", "calls", 1.84, 1.99),
    Budget("delivery at QoS 0, 20 messages together, plain", "system_calls", 0.052, 0.056),
    Budget("delivery at QoS 0, 20 messages together, plain", "redis_commands", 0.014, 0.019),
    Budget("delivery at QoS 1, plain", "calls", 44.2, 47.8),
    Budget("delivery at QoS 1, plain", "system_calls", 2.05, 2.21),
    Budget("delivery at QoS 1, plain", "redis_commands", 0.505, 0.705),
    Budget("delivery at QoS 1, 20 messages together, plain", "calls", 15.2, 16.4),
    Budget("delivery at QoS 1, 20 messages together, plain", "system_calls", 0.106, 0.115),
    Budget("delivery at QoS 1, 20 messages together, plain", "redis_commands", 0.153, 0.353),
    Budget("idle session after messages at QoS 1, plain", "bytes", 4510, 4870),
    Budget("idle session after messages at QoS 1, plain", "blocks", 48.2, 52.1),
    Budget("push by HTTP, plain", "calls", 725, 783),
    Budget("push by HTTP, plain", "system_calls", 8, 8.64),
    Budget("push by HTTP, plain", "redis_commands", 12, 13),
    Budget("push by HTTP, 32 together, plain", "calls", 430, 464),
    Budget("push by HTTP, 32 together, plain", "system_calls", 3.16, 3.79),
    Budget("push by HTTP, 32 together, plain", "redis_commands", 7.16, 8.1),
    Budget("item of a batch by HTTP, plain", "calls", 206, 223),
    Budget("item of a batch by HTTP, plain", "system_calls", 0.41, 0.61),
    Budget("item of a batch by HTTP, plain", "redis_commands", 7.73, 8.35),
    Budget("heartbeat, 32 together, plain", "calls", 90, 97.2),
    Budget("heartbeat, 32 together, plain", "system_calls", 2, 2.63),
    Budget("heartbeat, 32 together, plain", "redis_commands", 0, 0.938),
    Budget("CONNECT, plain", "calls", 1460, 1580),
    Budget("CONNECT, plain", "system_calls", 20.9, 22.6),
    Budget("CONNECT, plain", "redis_commands", 17.1, 18.5),
    Budget("CONNECT, 32 together, plain", "calls", 788, 851),
    Budget("CONNECT, 32 together, plain", "system_calls", 7.97, 8.61),
    Budget("CONNECT, 32 together, plain", "redis_commands", 10.7, 11.6),
    Budget("idle session, TLS", "bytes", 28410, 30690),
    Budget("idle session, TLS", "blocks", 60.3, 65.2),
    Budget("delivery at QoS 0, TLS", "calls", 14.7, 15.9),
    Budget("delivery at QoS 0, TLS", "system_calls", 1.05, 1.14),
    Budget("delivery at QoS 0, TLS", "redis_commands", 0.047, 0.087),
    Budget("delivery at QoS 0, 20 messages together, TLS", "calls", 2.88, 3.11),
    Budget("delivery at QoS 0, 20 messages together, TLS", "system_calls", 0.053, 0.06),
    Budget("delivery at QoS 0, 20 messages together, TLS", "redis_commands", 0.028, 0.038),
    Budget("delivery at QoS 1, TLS", "calls", 61.3, 66.2),
    Budget("delivery at QoS 1, TLS", "system_calls", 2.09, 2.26),
    Budget("delivery at QoS 1, TLS", "redis_commands", 0.61, 1.01),
    Budget("delivery at QoS 1, 20 messages together, TLS", "calls", 17.5, 18.9),
    Budget("delivery at QoS 1, 20 messages together, TLS", "system_calls", 0.112, 0.121),
    Budget("delivery at QoS 1, 20 messages together, TLS", "redis_commands", 0.206, 0.406),
    Budget("idle session after messages at QoS 1, TLS", "bytes", 28110, 30360),
    Budget("idle session after messages at QoS 1, TLS", "blocks", 64.2, 69.3),
    Budget("CONNECT, TLS", "calls", 2030, 2190),
    Budget("CONNECT, TLS", "system_calls", 26.8, 28.9),
    Budget("CONNECT, TLS", "redis_commands", 22, 24.2),
)
