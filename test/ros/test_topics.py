"""Quality of service that a user gets wrong: one sentence, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rig import Rig

MakeRig = Callable[..., Rig]


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("/depth/points.publisher.reliability", "sometimes"),
        ("/depth/points.publisher.depth", "two"),
        ("/clip/tokens.publisher.depth", -1),
    ],
)
def test_a_publishers_wrong_override_fails_configure(make_rig: MakeRig, override: str, value: object) -> None:
    rig = make_rig(**{f"qos_overrides.{override}": value})
    topic = override.split(".")[0]
    values = rig.status("node", lambda values, status: status.level == b"\x02")
    assert values["message"].startswith(f"cannot configure: Topic {topic[1:]} cannot be made (")
    assert values["state"] == "unconfigured"
    rig.until(lambda: rig.node.count_publishers("/depth/image") == 0)


def test_a_subscriptions_wrong_override_fails_activate(make_rig: MakeRig) -> None:
    rig = make_rig(**{"qos_overrides./image.subscription.reliability": "sometimes"})
    values = rig.status("node", lambda values, status: status.level == b"\x02")
    assert values["message"].startswith("cannot activate: Topic /image cannot be made (")
    assert values["state"] == "inactive"
    rig.until(lambda: rig.node.count_subscribers("/camera_info") == 0)
