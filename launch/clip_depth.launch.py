"""Starts the clip_depth node on one camera: ``ros2 launch clip_depth_ros clip_depth.launch.py --show-args``.

The node configures and activates itself (its parameter ``autostart``), so nothing here steers its lifecycle.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from clip_depth_ros.errors import BadInput
from clip_depth_ros.resources import resolve, share_path
from clip_depth_ros.ros.fastdds import profile_environment

# name: (default, description)
ARGUMENTS = {
    "image": (
        "image",
        "Image topic to subscribe to. With image_transport:=compressed, the topic without its /compressed. "
        "It is for the one camera of the default config; with several, the config's cameras say the topics.",
    ),
    "camera_info": ("camera_info", "CameraInfo topic that belongs to the image topic; points need it, depth does not."),
    "config": (
        str(share_path("config/clip_depth.yaml")),
        "ROS parameter file of the node: a path, or package://clip_depth_ros/config/...",
    ),
    "weights": (
        "",
        "Weight files (.safetensors) to load instead of the config's, separated by commas; empty takes the config's.",
    ),
    "namespace": ("", "ROS namespace of the node and of its topics with relative names."),
    "device": ("", "Device to run the network on: auto, cpu, cuda or cuda:<index>; empty takes the config's."),
    "image_transport": ("", "How images come in: raw or compressed; empty takes the config's."),
    "log_level": ("info", "Least severe log message to print: debug, info, warn, error or fatal."),
}


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_node)])


def start_node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    config = resolve(given["config"])
    if not config.is_file():
        # Without this, launch warns and the node starts with its defaults, which is not what was asked for.
        raise BadInput(f"config:={given['config']} is not a file: give the path of a ROS parameter file.")
    overrides = {name: given[name] for name in ("device", "image_transport") if given[name]}
    if given["weights"]:
        overrides["weights"] = [part.strip() for part in given["weights"].split(",") if part.strip()]
    node = Node(
        package="clip_depth_ros",
        executable="depth_node",
        name="clip_depth",
        namespace=given["namespace"],
        output="screen",
        parameters=[str(config), *([overrides] if overrides else [])],
        remappings=[("image", given["image"]), ("camera_info", given["camera_info"])],
        ros_arguments=["--log-level", given["log_level"]],
    )
    # The context's environment, not the process's: a launch file that includes this one may have chosen a profile.
    profile = profile_environment(context.environment)
    return [*(SetEnvironmentVariable(name, value) for name, value in profile.items()), node]
