"""Everything that exists while the node is configured: the network, the cameras' topics, and the worker."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from rclpy.lifecycle import LifecycleNode

from clip_depth_ros.errors import BadInput
from clip_depth_ros.ros.camera_stream import CameraStream
from clip_depth_ros.ros.frames import Camera
from clip_depth_ros.ros.geometry_keeper import GeometryKeeper
from clip_depth_ros.ros.network import Network
from clip_depth_ros.ros.outputs import CameraOutputs
from clip_depth_ros.ros.parameters import Settings
from clip_depth_ros.ros.recovery import NetworkRunner, device_trouble_explained
from clip_depth_ros.ros.worker import Worker


class Pipeline:
    """The cameras of a node and the network they share.

    Attributes:
        network: what was loaded.
        runner: runs it for the worker.
        cameras: one for each entry of the parameter ``cameras``, in its order.
    """

    def __init__(self, node: LifecycleNode, settings: Callable[[], Settings]) -> None:
        """Loads the weights, runs the network once, and advertises the topics.

        Args:
            node: the node that owns the topics.
            settings: returns the settings in force.

        Raises:
            BadInput: the weights cannot be used, the device is not there, or a parameter asks for a quality of service
                there is not.
        """
        fixed = settings()
        pending = threading.Event()
        with device_trouble_explained(f"device {fixed.device!r}"):
            self.network = Network.load(fixed)
            # The first run is slow (kernels are chosen, memory is taken), and shows which outputs there are.
            sample = self.network.run([np.zeros((480, 640, 3), np.uint8)], [None], tokens=True)[0]
        self.runner = NetworkRunner(self.network, node.get_logger())
        self.cameras: list[Camera] = []
        self._worker = Worker(self.runner, self.cameras, pending, settings, node.get_logger(), node.context.ok)
        try:
            for name in fixed.cameras:
                outputs, geometry = CameraOutputs(node, name, fixed), GeometryKeeper(fixed.rectify)
                self.cameras.append(Camera(CameraStream(node, name, settings, pending), outputs, geometry))
                outputs.advertise(sample)
        except BaseException:
            self.destroy()
            raise

    def start(self) -> None:
        """Listens and processes.

        Raises:
            BadInput: a parameter asks for a quality of service there is not, or the last batch never came back.
        """
        self.refuse_if_hanging()
        try:
            for camera in self.cameras:
                camera.stream.open()
        except BaseException:
            self.stop()
            raise
        self._worker.start()

    @property
    def is_hanging(self) -> bool:
        """Whether the worker was stopped, and is still waiting for the device."""
        return self._worker.is_hanging

    def refuse_if_hanging(self) -> None:
        """Raises BadInput while :attr:`is_hanging`: what uses the device next would hang, too."""
        if self.is_hanging:
            raise BadInput(f"{self.network.device_name} still has not answered the last batch: restart this process.")

    def stop(self) -> None:
        """Stops both, after the batch in work, or some seconds when it hangs; harmless when nothing runs."""
        for camera in self.cameras:
            camera.stream.close()
        self._worker.stop()
        for camera in self.cameras:
            camera.geometry.close()

    def destroy(self) -> None:
        """Stops and removes the topics."""
        self.stop()
        for camera in self.cameras:
            camera.outputs.destroy()
