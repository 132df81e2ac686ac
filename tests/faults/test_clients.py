"""Client management over two connectors and an API as real processes, one of them paused."""

from __future__ import annotations

from typing import Any

from push.sdk.backend import PushAPI
from tests.faults.raw import RawDevice


def test_sessions_of_two_connectors_and_one_that_stands_still(make_system: Any) -> None:
    system = make_system(connectors=2)
    first, second = system.connectors
    pairs = system.register(2)
    near = RawDevice(first.device_port)
    near.connect(pairs[0])
    far = RawDevice(second.device_port, source="127.0.0.2")
    far.connect(pairs[1])
    with PushAPI(system.api.http_url, system.admin_key) as api:
        names = {node["instance"] for node in api.nodes()}
        assert names == {"api", "connector1", "connector2"}
        assert {each.token for each in api.each_connection()} == {pair.token for pair in pairs}
        page = api.connections(ip="127.0.0.2/31")
        assert [each.token for each in page.connections] == [pairs[1].token]
        result = api.push(to={"ip": "127.0.0.2"}, data={"n": 1})
        assert (result.online, result.silent) == (1, [])
        second.pause()
        page = api.connections()
        assert page.silent == ["connector2"]
        assert [each.token for each in page.connections] == [pairs[0].token]
        assert api.kick_user("nobody").silent == ["connector2"]
        second.resume()
        system.wait(lambda: not api.connections().silent, "connector2 answers again")
        assert api.kick_ip("127.0.0.2").kicked == 1
    received = far.message()
    assert received is not None
    assert received[0].id == result.id
    system.wait(lambda: far.ended_with() == "kicked", "the device is told")
    near.close()
