"""How this node publishes and subscribes: quality of service, and what is said when it does not match."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.exceptions import ParameterException
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import InvalidQoSProfileException, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from clip_depth_ros.errors import BadInput

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

OnMismatch = Callable[[str], None]


def subscribe(
    node: LifecycleNode, kind: type, topic: str, callback: Callable[[Any], None], on_mismatch: OnMismatch
) -> Subscription:
    """Subscribes with sensor data quality: best effort hears reliable publishers too.

    A depth of 2 instead of 1: of two images in a burst the older is then counted as dropped here, instead of lost
    unseen in the middleware.

    ``on_mismatch`` gets a sentence when a publisher offers a quality that can never match.

    Raises:
        BadInput: the topic's ``qos_overrides`` parameters make no quality.
    """

    def mismatch(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        on_mismatch(f"a publisher of {subscription.topic_name} offers a {policy} this node cannot match")

    with _overrides_of(topic):
        subscription = node.create_subscription(
            kind,
            topic,
            callback,
            QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=mismatch),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
    return subscription


def advertise(node: LifecycleNode, kind: type, topic: str, on_mismatch: OnMismatch) -> Publisher:
    """Advertises reliably, so that every subscriber hears; the depth of 2 bounds what a slow one may hold back.

    ``on_mismatch`` gets a sentence when a subscriber asks for a quality that can never match.

    Raises:
        BadInput: the topic's ``qos_overrides`` parameters make no quality.
    """

    def mismatch(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        on_mismatch(f"a subscriber of {publisher.topic_name} asks for a {policy} this node does not offer")

    with _overrides_of(topic):
        publisher = node.create_lifecycle_publisher(
            kind,
            topic,
            QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE),
            event_callbacks=PublisherEventCallbacks(incompatible_qos=mismatch),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
    return publisher


@contextmanager
def _overrides_of(topic: str) -> Iterator[None]:
    """Turns rclpy's complaint about a ``qos_overrides`` parameter into BadInput."""
    try:
        yield
    except (InvalidQoSProfileException, ParameterException, RuntimeError, TypeError) as error:
        raise BadInput(
            f"Topic {topic} cannot be made ({error}): look at the parameters that begin with qos_overrides and at the "
            "topic's remapping."
        ) from error
