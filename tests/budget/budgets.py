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
    Budget("idle session, plain", "bytes", 4070, 4390),
    Budget("idle session, plain", "blocks", 46.7, 50.4),
    Budget("delivery at QoS 0, plain", "calls", 7.16, 7.73),
    Budget("delivery at QoS 0, plain", "system_calls", 1.03, 1.11),
    Budget("delivery at QoS 0, plain", "redis_commands", 0.024, 0.044),
    Budget("delivery at QoS 0, 20 messages together, plain", "calls", 1.69, 1.82),
    Budget("delivery at QoS 0, 20 messages together, plain", "system_calls", 0.052, 0.056),
    Budget("delivery at QoS 0, 20 messages together, plain", "redis_commands", 0.014, 0.019),
    Budget("delivery at QoS 1, plain", "calls", 40.9, 44.2),
    Budget("delivery at QoS 1, plain", "system_calls", 2.05, 2.21),
    Budget("delivery at QoS 1, plain", "redis_commands", 0.505, 0.705),
    Budget("delivery at QoS 1, 20 messages together, plain", "calls", 13.8, 14.9),
    Budget("delivery at QoS 1, 20 messages together, plain", "system_calls", 0.106, 0.115),
    Budget("delivery at QoS 1, 20 messages together, plain", "redis_commands", 0.153, 0.353),
    Budget("idle session after messages at QoS 1, plain", "bytes", 4520, 4890),
    Budget("idle session after messages at QoS 1, plain", "blocks", 48.1, 52),
    Budget("push by HTTP, plain", "calls", 660, 712),
    Budget("push by HTTP, plain", "system_calls", 8, 8.64),
    Budget("push by HTTP, plain", "redis_commands", 12, 13),
    Budget("push by HTTP, 32 together, plain", "calls", 378, 408),
    Budget("push by HTTP, 32 together, plain", "system_calls", 3.16, 3.79),
    Budget("push by HTTP, 32 together, plain", "redis_commands", 7.16, 8.1),
    Budget("item of a batch by HTTP, plain", "calls", 156, 172),
    Budget("item of a batch by HTTP, plain", "system_calls", 0.68, 0.881),
    Budget("item of a batch by HTTP, plain", "redis_commands", 7.73, 8.35),
    Budget("heartbeat, 32 together, plain", "calls", 86.6, 93.5),
    Budget("heartbeat, 32 together, plain", "system_calls", 2, 2.63),
    Budget("heartbeat, 32 together, plain", "redis_commands", 0, 0.938),
    Budget("CONNECT, plain", "calls", 1370, 1480),
    Budget("CONNECT, plain", "system_calls", 21.1, 22.8),
    Budget("CONNECT, plain", "redis_commands", 17.1, 18.5),
    Budget("CONNECT, 32 together, plain", "calls", 784, 847),
    Budget("CONNECT, 32 together, plain", "system_calls", 8.79, 9.49),
    Budget("CONNECT, 32 together, plain", "redis_commands", 10.7, 11.6),
    Budget("idle session, TLS", "bytes", 28410, 30680),
    Budget("idle session, TLS", "blocks", 59.4, 64.2),
    Budget("delivery at QoS 0, TLS", "calls", 13.4, 14.5),
    Budget("delivery at QoS 0, TLS", "system_calls", 1.05, 1.14),
    Budget("delivery at QoS 0, TLS", "redis_commands", 0.047, 0.087),
    Budget("delivery at QoS 0, 20 messages together, TLS", "calls", 2.61, 2.82),
    Budget("delivery at QoS 0, 20 messages together, TLS", "system_calls", 0.053, 0.06),
    Budget("delivery at QoS 0, 20 messages together, TLS", "redis_commands", 0.028, 0.038),
    Budget("delivery at QoS 1, TLS", "calls", 56.7, 61.2),
    Budget("delivery at QoS 1, TLS", "system_calls", 2.09, 2.26),
    Budget("delivery at QoS 1, TLS", "redis_commands", 0.61, 1.01),
    Budget("delivery at QoS 1, 20 messages together, TLS", "calls", 15.9, 17.2),
    Budget("delivery at QoS 1, 20 messages together, TLS", "system_calls", 0.112, 0.121),
    Budget("delivery at QoS 1, 20 messages together, TLS", "redis_commands", 0.206, 0.406),
    Budget("idle session after messages at QoS 1, TLS", "bytes", 28190, 30440),
    Budget("idle session after messages at QoS 1, TLS", "blocks", 63.2, 68.3),
    Budget("CONNECT, TLS", "calls", 1880, 2070),
    Budget("CONNECT, TLS", "system_calls", 26.9, 29),
    Budget("CONNECT, TLS", "redis_commands", 20.3, 23.2),
)
