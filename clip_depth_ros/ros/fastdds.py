"""The Fast DDS profile that lets images through between processes: who needs it, and when to leave it alone."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

from clip_depth_ros.resources import share_path

PROFILE = "config/fastdds_large_messages.xml"
_FAST_DDS_3 = "FASTDDS_DEFAULT_PROFILES_FILE"
_FAST_DDS_2 = "FASTRTPS_DEFAULT_PROFILES_FILE"
PROFILE_VARIABLES = (_FAST_DDS_3, _FAST_DDS_2)
# With any of these set, somebody has chosen a transport already.
_USER_CHOICES = (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")
_KILTED_RCLPY = 9


def profile_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment variables to add so that Fast DDS delivers images between processes.

    Set them in every process that sends images, before its first ROS context: the message lies in the sender's
    shared memory, so the camera driver needs them too, and receivers do not.

    Args:
        environ: environment the process would start with, such as ``os.environ``.

    Returns:
        The profile's absolute path under each name this ROS reads it by; nothing where the user has a profile or
        built-in transport of their own, or another middleware than Fast DDS (ROS's default).

    Raises:
        BadInput: the package was installed without its shared files.
    """
    if any(environ.get(name) for name in _USER_CHOICES):
        return {}
    if "fastrtps" not in (environ.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"):
        return {}
    return dict.fromkeys(profile_variables(_rclpy_version()), str(share_path(PROFILE)))


def profile_variables(rclpy_version: str) -> tuple[str, ...]:
    """Returns the names under which the Fast DDS of this rclpy (``"7.1.6"``; empty when unknown) finds a profile.

    Humble's and Jazzy's Fast DDS 2 knows only the old name. From Kilted on the new one does, and the old one makes
    each process print a warning.
    """
    major = rclpy_version.partition(".")[0]
    return (_FAST_DDS_3,) if major.isdecimal() and int(major) >= _KILTED_RCLPY else PROFILE_VARIABLES


def _rclpy_version() -> str:
    try:
        return metadata.version("rclpy")
    except metadata.PackageNotFoundError:
        return ""
