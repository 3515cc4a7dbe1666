"""Measures the node on a recording, live: ``ros2 launch clip_depth_ros replay_benchmark.launch.py bag:=PATH``.

The benchmark is one process, which starts the node as another and ends it again. When it ends, so does this launch; it
fails when the benchmark does.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, EmitEvent, ExecuteProcess, OpaqueFunction
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import ExecutableInPackage

from clip_depth_ros.resources import share_path

# name: (default, description)
ARGUMENTS = {
    "bag": (str(share_path("models/demo/rooms_bag")), "Bag (ROS 1 or 2) to play."),
    "config": ("", "ROS parameter file of the node; empty takes the command's default."),
    "head": ("", "Depth head to run; empty takes the config's."),
    "rates": (
        "1.0",
        "Paces to play the bag at, separated by commas: 1.0 as recorded, 2.0 twice as fast, "
        "0.0 as fast as the node takes images.",
    ),
    "device": ("", "Device to run the network on: auto, cpu, cuda or cuda:<index>; empty takes the config's."),
    "seconds": ("", "Least time at each pace (s); empty takes the command's default."),
    "timeout": ("", "Time in which the node must load its weights and answer (s); empty takes the command's default."),
    "output": ("replay_output", "Folder to write the report to, from where ros2 launch runs or absolute."),
}
OPTIONS = {name: f"--{name}" for name in ("config", "head", "device", "seconds", "timeout", "output")}
WRITING_S = "60"  # what the report of what was done may take after Ctrl-C; launch's default is 5 s


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_benchmark)])


def start_benchmark(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    command = [ExecutableInPackage(executable="clip-depth", package="clip_depth_ros"), "replay", given["bag"], "--live"]
    for name, option in OPTIONS.items():
        command += [option, given[name]] if given[name] else []
    rates = given["rates"].replace(",", " ").split()
    command += ["--rate", *rates] if rates else []
    return [
        ExecuteProcess(
            cmd=command,
            name="replay_benchmark",
            output="screen",
            sigterm_timeout=WRITING_S,
            additional_env={"PYTHONUNBUFFERED": "1"},
            on_exit=end,
        )
    ]


def end(event: ProcessExited, context: LaunchContext) -> EmitEvent:
    """Ends the launch; an exception is what makes ``ros2 launch`` return 1 and say why."""
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(f"the replay benchmark failed with exit code {event.returncode}: its output says why")
    return EmitEvent(event=Shutdown(reason="the replay benchmark is done"))
