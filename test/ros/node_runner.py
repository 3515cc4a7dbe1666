"""The depth node as a process of its own, and a peer in this process that talks to it over real DDS."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rig import WAIT, Peer
from sensor_msgs.msg import Image

from clip_depth_ros.replay.node_process import NodeProcess
from clip_depth_ros.ros.fastdds import profile_environment

TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "shutdown": Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
}


NODE = ("-m", "clip_depth_ros.ros.depth_node")


def node_command(program: Sequence[str] = NODE, **parameters: Any) -> list[str]:
    """The command of a user who starts the node (or a Python ``program``); ``__`` in a parameter's name is a dot."""
    command = [sys.executable, *program, "--ros-args"]
    for name, value in {"diagnostics__period": 0.1, **parameters}.items():
        command += ["-p", f"{name.replace('__', '.')}:={value}"]
    return command


def node_environment(domain_id: int) -> dict[str, str]:
    """The environment of a process in the test's own DDS domain."""
    changes = {"ROS_DOMAIN_ID": str(domain_id), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **changes}
    return {**environment, **profile_environment(environment)}


class RemoteNode(Peer):
    """Talks to the depth node in ``process``."""

    def __init__(self, context: rclpy.Context, process: NodeProcess) -> None:
        super().__init__(context)
        self.process = process
        self._clients: dict[str, Client] = {}

    def listen(self, kind: type, *topics: str) -> None:
        """Subscribes, and waits until the node knows that it is heard."""
        super().listen(kind, *topics)
        for topic in topics:
            if topic != "/diagnostics":
                self.status("camera", lambda values, status, t=topic: f"/{t}" in values["outputs subscribed to"])

    def forget(self) -> None:
        """Ends all subscriptions, waits until the node knows, and forgets what was heard."""
        super().forget()
        self.status("camera", lambda values, status: values["outputs subscribed to"] == "none")

    def publisher(self, kind: type, topic: str, reliable: bool = True) -> Publisher:
        """Returns a publisher of ``topic`` that the node knows of: it listens with best effort."""
        is_new = topic not in self._publishers
        publisher = super().publisher(kind, topic, reliable)
        if is_new and kind is Image:
            self.status("camera", lambda values, status: values["image publishers"] != "0")
            self.settle(0.3)
        return publisher

    def call(self, kind: Any, service: str, request: Any) -> Any:
        """Calls a service of the node and returns its answer."""
        if service not in self._clients:
            client = self.node.create_client(kind, f"/clip_depth/{service}")
            self.until(client.service_is_ready, 3 * WAIT)
            self.settle(0.3)  # until the node, too, knows whom to answer
            self._clients[service] = client
        future = self._clients[service].call_async(request)
        self.until(future.done, 3 * WAIT)
        return future.result()

    def change(self, transition: str) -> bool:
        """Asks for a lifecycle transition; returns whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        return bool(self.call(ChangeState, "change_state", request).success)

    def state(self) -> str:
        """The label of the node's lifecycle state."""
        return str(self.call(GetState, "get_state", GetState.Request()).current_state.label)

    def set(self, name: str, value: Any) -> str:
        """Sets a parameter; returns the reason when it was rejected, else an empty string."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return str(self.call(SetParameters, "set_parameters", request).results[0].reason)


@contextmanager
def running_node(domain_id: int, log: Path, program: Sequence[str] = NODE, **parameters: Any) -> Iterator[RemoteNode]:
    """Starts the node (or a Python ``program`` that runs it) and a peer, and ends both."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    with NodeProcess(node_command(program, **parameters), node_environment(domain_id), log) as process:
        remote = RemoteNode(context, process)
        try:
            yield remote
        finally:
            remote.close()
            rclpy.shutdown(context=context)
