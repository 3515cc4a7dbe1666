"""Starts the node with the weights that come with the package and plays the recorded rooms, or your bag, to it.

Look at it with ``rviz2``: fixed frame ``camera_optical_frame``, cloud ``/depth/points``.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from clip_depth_ros.resources import share_path

# name: (default, description)
ARGUMENTS = {
    "play": ("true", "Play the bag; false starts the node alone."),
    "bag": (str(share_path("models/demo/rooms_bag")), "Bag (ROS 1 or 2) to play."),
    "loop": ("true", "Play the bag again when it ends."),
    "rate": ("1.0", "Pace of the bag: 1.0 as recorded, 2.0 twice as fast."),
    # These are clip_depth.launch.py's, with the demo's defaults. Its other arguments work here too.
    "image": ("/camera/image", "Image topic of the bag."),
    "camera_info": ("/camera/camera_info", "CameraInfo topic of the bag."),
    "config": (str(share_path("config/demo.yaml")), "ROS parameter file of the node."),
}


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(Path(__file__).with_name("clip_depth.launch.py")))
    )
    player = Node(
        package="clip_depth_ros",
        executable="replay_node",
        output="screen",
        condition=IfCondition(LaunchConfiguration("play")),
        parameters=[
            {
                "bag": LaunchConfiguration("bag"),
                "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
                "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
            }
        ],
    )
    # The node first: its launch file also sets the Fast DDS profile for what is started after it.
    return LaunchDescription([*arguments, node, player])
