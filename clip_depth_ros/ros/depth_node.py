"""The lifecycle node ``clip_depth``: camera images in; depth, clouds and CLIP features out.

The executor's one thread only takes messages into slots; a worker thread does the rest. Topics and parameters are
those of the README's tables.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.timer import Timer

from clip_depth_ros.errors import BadInput
from clip_depth_ros.ros.diagnostics import Reporter
from clip_depth_ros.ros.live_parameters import LiveParameters

if TYPE_CHECKING:
    from clip_depth_ros.ros.pipeline import Pipeline

NODE_NAME = "clip_depth"


class DepthNode(LifecycleNode):
    """Configure loads the weights, activate starts output, deactivate stops it, cleanup frees what was loaded.

    Attributes:
        parameters: the node's parameters; ``parameters.settings`` are their values.
        pipeline: the network and the cameras; None while the node is not configured.
    """

    def __init__(self, **options: Any) -> None:
        """Declares the parameters and starts diagnostics.

        Args:
            options: those of ``rclpy.node.Node``, such as ``context`` and ``parameter_overrides``.

        Raises:
            BadInput: a parameter given at launch has the wrong type or is out of range.
        """
        super().__init__(NODE_NAME, **options)
        self.pipeline: Pipeline | None = None
        self._left_behind: Pipeline | None = None
        self._problem = ""
        self._state = "unconfigured"
        self._timer: Timer | None = None
        try:
            self.parameters = LiveParameters(self, lambda: self.pipeline is not None, self._on_parameters)
        except BadInput:
            self.destroy_node()
            raise
        for name in self.parameters.unknown():
            self.get_logger().warning(f"There is no parameter {name!r}: a typing mistake? It has no effect.")
        self._diagnostics = self.create_publisher(
            DiagnosticArray,
            "/diagnostics",
            10,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._reporter = Reporter(self, lambda: self.parameters.settings)
        self._on_parameters()

    def autostart(self) -> None:
        """Configures and activates, unless the parameter ``autostart`` leaves that to a lifecycle manager."""
        if self.parameters.settings.autostart and self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the weights and advertises the topics; FAILURE, with the reason logged, when that cannot be done."""
        from clip_depth_ros.ros.pipeline import Pipeline  # imports torch: seconds, so not before it is needed

        def configure() -> None:
            if self._left_behind is not None:
                self._left_behind.refuse_if_hanging()
                self._left_behind = None
            self.pipeline = Pipeline(self, lambda: self.parameters.settings)
            network = ", ".join(f"{name} {value}" for name, value in self.pipeline.network.values().items())
            self.get_logger().info(f"Configured: {network}.")
            for note in self.pipeline.network.notes:
                self.get_logger().warning(note)

        result = self._attempt("configure", configure, "inactive")
        if self.pipeline is None and self._left_behind is None:
            self._free_cached_memory()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Starts output; FAILURE, with the reason logged, when the topics cannot be heard."""
        if self.pipeline is None:
            return TransitionCallbackReturn.ERROR
        super().on_activate(state)  # lets the publishers publish
        result = self._attempt("activate", self.pipeline.start, "active")
        if result != TransitionCallbackReturn.SUCCESS:
            super().on_deactivate(state)
        return result

    def _attempt(self, what: str, step: Callable[[], None], state: str) -> TransitionCallbackReturn:
        """Does a transition's work. rclpy swallows what it raises, and a node that says nothing cannot be mended."""
        details = ""
        try:
            step()
            self._problem, self._state = "", state
            return TransitionCallbackReturn.SUCCESS
        except BadInput as error:
            self._problem = f"cannot {what}: {error}"
        except Exception as error:
            self._problem = f"cannot {what}: {type(error).__name__}: {error}"
            details = f"\n{traceback.format_exc()}"
        self.get_logger().error(f"{self._problem[0].upper()}{self._problem[1:]}{details}")
        return TransitionCallbackReturn.FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stops output after the batch in work; the weights stay loaded."""
        if self.pipeline is not None:
            self.pipeline.stop()
        self._state = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees the network and removes the topics; the node can be configured anew, with other weights."""
        self._release("unconfigured")
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees everything, for good."""
        self._release("finalized")
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Falls back to unconfigured."""
        self.get_logger().error("A transition failed: the node is unconfigured again.")
        self._release("unconfigured")
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> bool:
        """Stops the worker, which must not outlive the context it publishes through.

        Returns:
            Whether it stopped; a device that hangs does not let it.
        """
        if self.pipeline is not None:
            self.pipeline.stop()
        kept = self.pipeline or self._left_behind
        return kept is None or not kept.is_hanging

    def _release(self, state: str) -> None:
        if self.pipeline is not None:
            self.pipeline.destroy()
            self._left_behind = self.pipeline if self.pipeline.is_hanging else None
            self.pipeline = None
            if self._left_behind is None:
                self._free_cached_memory()
        self._state = state

    @staticmethod
    def _free_cached_memory() -> None:
        from clip_depth_ros.ros.network import free_cached_memory  # torch is loaded by now

        free_cached_memory()

    def _on_parameters(self) -> None:
        """Gives the diagnostics timer its period; on steady time, since simulated time may not have begun."""
        period = self.parameters.settings.diagnostics_period
        if self._timer is not None:
            if self._timer.timer_period_ns == round(period * 1e9):
                return
            self.destroy_timer(self._timer)
        self._timer = self.create_timer(period, self._diagnose, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _diagnose(self) -> None:
        self._diagnostics.publish(self._reporter.report(self._state, self._problem, self.pipeline))


class Stop(KeyboardInterrupt):
    """A signal to end; not KeyboardInterrupt itself.

    Python notes where that leaves code run from C, as imports of compiled modules do, and then ends the process with
    SIGINT's code, caught or not.
    """


class Interrupt:
    """A signal handler that raises KeyboardInterrupt until it is ``over``.

    ROS ends its context before Python hears of a signal: what waits for ROS may end first, and the signal then comes on
    the way out. And Ctrl-C reaches the node twice, from the terminal and from ros2 launch.
    """

    over = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raises KeyboardInterrupt, or does nothing when it is over."""
        if not self.over:
            raise Stop


def main(args: Sequence[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM; returns the exit code: 0, or 2 for arguments that cannot be used."""
    interrupt = Interrupt()
    for number in (signal.SIGINT, signal.SIGTERM):  # also while weights load, which can take long
        signal.signal(number, interrupt)
    try:
        rclpy.init(args=args)
    except RuntimeError as error:
        print(f"ROS cannot use these arguments: {error}.", file=sys.stderr)
        return 2
    node = None
    try:
        node = DepthNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        node.autostart()
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except Exception:
        if rclpy.ok():
            raise
        # A signal ended the context in the middle of a call: that is an end as good as any.
    finally:
        interrupt.over = True
        # Also for the interpreter's own end, where a second signal would end the process with another code.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stopped = True
        if node is not None:
            stopped = node.close()
            node.destroy_node()
        rclpy.try_shutdown()
        if not stopped:  # the interpreter's end would wait for the device, too
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
