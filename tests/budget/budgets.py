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
    Budget("idle session, plain", "bytes", 4100, 4420),
    Budget("idle session, plain", "blocks", 46.7, 50.5),
    Budget("delivery at QoS 0, plain", "calls", 7.18, 7.76),
    Budget("delivery at QoS 0, plain", "system_calls", 1.03, 1.11),
    Budget("delivery at QoS 0, plain", "redis_commands", 0.024, 0.044),
    Budget("delivery at QoS 0, 20 messages together, plain", "calls", 1.68, 1.82),
    Budget("delivery at QoS 0, 20 messages together, plain", "system_calls", 0.052, 0.056),
    Budget("delivery at QoS 0, 20 messages together, plain", "redis_commands", 0.014, 0.019),
    Budget("delivery at QoS 1, plain", "calls", 41.7, 45),
    Budget("delivery at QoS 1, plain", "system_calls", 2.05, 2.21),
    Budget("delivery at QoS 1, plain", "redis_commands", 0.505, 0.705),
    Budget("delivery at QoS 1, 20 messages together, plain", "calls", 13.8, 14.9),
    Budget("delivery at QoS 1, 20 messages together, plain", "system_calls", 0.107, 0.115),
    Budget("delivery at QoS 1, 20 messages together, plain", "redis_commands", 0.153, 0.353),
    Budget("idle session after messages at QoS 1, plain", "bytes", 4540, 4910),
    Budget("idle session after messages at QoS 1, plain", "blocks", 48.3, 52.1),
    Budget("push by HTTP, plain", "calls", 660, 713),
    Budget("push by HTTP, plain", "system_calls", 8, 8.64),
    Budget("push by HTTP, plain", "redis_commands", 12, 13),
    Budget("push by HTTP, 32 together, plain", "calls", 387, 418),
    Budget("push by HTTP, 32 together, plain", "system_calls", 3.16, 3.79),
    Budget("push by HTTP, 32 together, plain", "redis_commands", 7.16, 8.1),
    Budget("item of a batch by HTTP, plain", "calls", 145, 156),
    Budget("item of a batch by HTTP, plain", "system_calls", 0.41, 0.61),
    Budget("item of a batch by HTTP, plain", "redis_commands", 7.73, 8.35),
    Budget("heartbeat, 32 together, plain", "calls", 87.6, 94.6),
    Budget("heartbeat, 32 together, plain", "system_calls", 2, 2.63),
    Budget("heartbeat, 32 together, plain", "redis_commands", 0, 0.938),
    Budget("CONNECT, plain", "calls", 1410, 1520),
    Budget("CONNECT, plain", "system_calls", 21, 22.7),
    Budget("CONNECT, plain", "redis_commands", 17.1, 18.5),
    Budget("CONNECT, 32 together, plain", "calls", 798, 861),
    Budget("CONNECT, 32 together, plain", "system_calls", 8.79, 9.49),
    Budget("CONNECT, 32 together, plain", "redis_commands", 10.7, 11.6),
    Budget("idle session, TLS", "bytes", 28370, 30640),
    Budget("idle session, TLS", "blocks", 59.4, 64.1),
    Budget("delivery at QoS 0, TLS", "calls", 13.4, 14.5),
    Budget("delivery at QoS 0, TLS", "system_calls", 1.05, 1.14),
    Budget("delivery at QoS 0, TLS", "redis_commands", 0.047, 0.087),
    Budget("delivery at QoS 0, 20 messages together, TLS", "calls", 2.6, 2.81),
    Budget("delivery at QoS 0, 20 messages together, TLS", "system_calls", 0.053, 0.06),
    Budget("delivery at QoS 0, 20 messages together, TLS", "redis_commands", 0.028, 0.038),
    Budget("delivery at QoS 1, TLS", "calls", 57.5, 62.1),
    Budget("delivery at QoS 1, TLS", "system_calls", 2.09, 2.26),
    Budget("delivery at QoS 1, TLS", "redis_commands", 0.61, 0.81),
    Budget("delivery at QoS 1, 20 messages together, TLS", "calls", 16, 17.2),
    Budget("delivery at QoS 1, 20 messages together, TLS", "system_calls", 0.112, 0.121),
    Budget("delivery at QoS 1, 20 messages together, TLS", "redis_commands", 0.206, 0.406),
    Budget("idle session after messages at QoS 1, TLS", "bytes", 28190, 30440),
    Budget("idle session after messages at QoS 1, TLS", "blocks", 63.2, 68.3),
    Budget("CONNECT, TLS", "calls", 1950, 2100),
    Budget("CONNECT, TLS", "system_calls", 26.8, 29),
    Budget("CONNECT, TLS", "redis_commands", 20.8, 22.5),
)
