"""The parameters of a running node: declared, checked before every change, read as one snapshot."""

from __future__ import annotations

from collections.abc import Callable

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from clip_depth_ros.errors import BadInput
from clip_depth_ros.ros.parameters import BY_NAME, PARAMETERS, Settings, coerce, problem

_NOT_OURS = ("qos_overrides.", "use_sim_time", "start_type_description_service")


class LiveParameters:
    """Declares every parameter on a node and keeps :attr:`settings` equal to them.

    A change is accepted whole or not at all. ``settings`` is replaced, never altered, so that a thread which
    read it once works with one consistent set.
    """

    def __init__(self, node: Node, is_configured: Callable[[], bool], on_change: Callable[[], None]) -> None:
        """Declares the parameters, with the values given at launch where there are any.

        Args:
            node: the node that gets them.
            is_configured: tells whether the parameters read by configure are in use and cannot change.
            on_change: called after :attr:`settings` was replaced.

        Raises:
            BadInput: a value given at launch has the wrong type or is out of range.
        """
        self._node = node
        self._is_configured = is_configured
        self._on_change = on_change
        # rclpy keeps what --params-file and -p gave here; it has no public way to see values of another type.
        self._overrides: dict[str, Parameter] = dict(getattr(node, "_parameter_overrides", {}))
        self._values = {spec.name: self._declare(spec.name) for spec in PARAMETERS}
        if reason := problem(self._values):
            raise BadInput(f"Parameter {reason}")
        self.settings = Settings.from_values(self._values)
        self._watch()

    def unknown(self) -> list[str]:
        """Returns the parameters given at launch that the node does not have: most often a typing mistake."""
        return sorted(name for name in self._overrides if name not in BY_NAME and not name.startswith(_NOT_OURS))

    def _declare(self, name: str) -> object:
        spec = BY_NAME[name]
        given = self._overrides.get(name)
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        value = default if given is None else coerce(spec, given).value
        try:
            return self._node.declare_parameter(name, value, spec.descriptor(), ignore_override=True).value
        except (ParameterException, TypeError) as error:
            raise BadInput(f"Parameter {name} cannot be {value!r}: {error}.") from error

    def _watch(self) -> None:
        """Registers the checks; Humble has no callbacks before and after a change, and does without."""
        if hasattr(self._node, "add_pre_set_parameters_callback"):
            self._node.add_pre_set_parameters_callback(self._coerce_all)
        self._node.add_on_set_parameters_callback(self._check)
        if hasattr(self._node, "add_post_set_parameters_callback"):
            self._node.add_post_set_parameters_callback(self._apply)

    @staticmethod
    def _coerce_all(parameters: list[Parameter]) -> list[Parameter]:
        """Accepts ``10`` where ``10.0`` is meant; rclpy rejects what has a wrong type after that."""
        result = []
        for parameter in parameters:
            try:
                result.append(coerce(BY_NAME[parameter.name], parameter))
            except (BadInput, KeyError):
                result.append(parameter)
        return result

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        """Answers whether the change may happen, with the reason when not."""
        changes = {item.name: item.value for item in parameters if item.name in BY_NAME}
        if self._is_configured():
            for name, value in changes.items():
                if not BY_NAME[name].at_run_time and value != self._values[name]:
                    reason = f"{name} is fixed by configure: clean the node up, set it, then configure again."
                    return SetParametersResult(successful=False, reason=reason)
        if reason := problem({**self._values, **changes}):
            return SetParametersResult(successful=False, reason=reason)
        if not hasattr(self._node, "add_post_set_parameters_callback"):
            self._apply(parameters)
        return SetParametersResult(successful=True)

    def _apply(self, parameters: list[Parameter]) -> None:
        """Replaces the settings by those with the accepted changes."""
        changes = {item.name: item.value for item in parameters if item.name in BY_NAME}
        if changes:
            self._values = {**self._values, **changes}
            self.settings = Settings.from_values(self._values)
            self._on_change()
