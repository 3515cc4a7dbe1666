"""``clip-depth``: the command line.

A command's module is imported only when that command is asked for, so that ``clip-depth --help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

from clip_depth_ros import __version__
from clip_depth_ros.errors import BadInput

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("clip_depth_ros.replay.demo", "run the node on the shipped recording and show what comes out"),
    "infer": ("clip_depth_ros.commands.infer", "depth of an image, a folder of images or a video"),
    "replay": ("clip_depth_ros.commands.replay", "measure depth on a recording, as one page to look at"),
    "compare": ("clip_depth_ros.commands.compare", "several replays in one table and plot"),
    "make-bag": ("clip_depth_ros.commands.make_bag", "turn a folder of RGB (and depth) images into a bag"),
    "import": ("clip_depth_ros.commands.import_weights", "convert published weights for this node"),
    "export": ("clip_depth_ros.commands.export", "encoder and head as one ONNX file, for TensorRT and ONNX Runtime"),
    "info": ("clip_depth_ros.commands.info", "say what a weight file is"),
    "benchmark": ("clip_depth_ros.commands.benchmark", "measure speed, memory and start-up on this machine"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0 (done), 1 (failed) or 2 (bad input)."""
    return run_commands("clip-depth", "Metric depth from one frozen CLIP encode, for ROS 2.", COMMANDS, arguments)


def run_commands(
    program: str, description: str, commands: Mapping[str, tuple[str, str]], arguments: Sequence[str] | None = None
) -> int:
    """Parses ``arguments`` and runs the chosen one of ``commands`` (name -> module, help line).

    ``BadInput`` becomes its sentence on stderr and exit code 2; Ctrl-C becomes 130.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, (module, help_line) in commands.items():
        subparser = subparsers.add_parser(name, help=help_line, description=f"{help_line[0].upper()}{help_line[1:]}.")
        if name == chosen:
            command = importlib.import_module(module)
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run)
    parsed = parser.parse_args(words)
    try:
        return int(parsed.run(parsed) or 0)
    except BadInput as error:
        print(f"{program} {parsed.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
