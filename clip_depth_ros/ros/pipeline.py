"""Everything that exists while the node is configured: the network, the cameras' topics, and the worker."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from rclpy.lifecycle import LifecycleNode

from clip_depth_ros.ros.camera_stream import CameraStream
from clip_depth_ros.ros.frames import Camera
from clip_depth_ros.ros.geometry_keeper import GeometryKeeper
from clip_depth_ros.ros.network import Network
from clip_depth_ros.ros.outputs import CameraOutputs
from clip_depth_ros.ros.parameters import Settings
from clip_depth_ros.ros.worker import Worker


class Pipeline:
    """The cameras of a node and the network they share.

    Attributes:
        network: what was loaded.
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
        self.network = Network.load(fixed)
        self.cameras: list[Camera] = []
        self._worker = Worker(self.network, self.cameras, pending, settings, node.get_logger(), node.context.ok)
        # The first run is slow (kernels are chosen, memory is taken), and shows which outputs there are.
        sample = self.network.run([np.zeros((480, 640, 3), np.uint8)], [None], tokens=True)[0]
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
            BadInput: a parameter asks for a quality of service there is not.
        """
        try:
            for camera in self.cameras:
                camera.stream.open()
        except BaseException:
            self.stop()
            raise
        self._worker.start()

    def stop(self) -> None:
        """Stops both, after the batch in work; harmless when nothing runs."""
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
