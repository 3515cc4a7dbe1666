"""This process's OpenGL context, and who draws in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from clip_depth_ros.errors import BadInput

_CONTEXTS: dict[int, Any] = {}


def gl_context(width: int, height: int) -> Any:
    """Returns this process's OpenGL context, made at the first call and kept; without a screen where there is a choice.

    Raises:
        BadInput: this machine cannot make one.
    """
    if os.getpid() not in _CONTEXTS:
        if sys.platform == "linux":  # MuJoCo reads this when it is imported and would ask for a screen.
            os.environ.setdefault("MUJOCO_GL", "egl")
        try:
            from mujoco.gl_context import GLContext

            _CONTEXTS[os.getpid()] = GLContext(width, height)
        except ImportError as error:
            raise BadInput("Rendering needs MuJoCo: pip install 'clip_depth_ros[train]'.") from error
        except Exception as error:  # each platform library raises its own
            raise BadInput(
                f"MuJoCo cannot render here with MUJOCO_GL={os.environ.get('MUJOCO_GL')} ({error}): install libegl1 "
                "and a Mesa driver, or set MUJOCO_GL=osmesa."
            ) from error
    _CONTEXTS[os.getpid()].make_current()
    return _CONTEXTS[os.getpid()]


def renderer_name() -> str:
    """Returns what the driver calls itself in the current context, like "llvmpipe (LLVM 15.0.7, 256 bits)"."""
    from OpenGL.GL import GL_RENDERER, glGetString  # type: ignore[import-untyped]

    name = glGetString(GL_RENDERER)
    return name.decode("ascii", "replace") if name else "an unknown OpenGL renderer"


def gpu_count() -> int:
    """Returns the number of NVIDIA GPUs that EGL lists first; 0 where there is none."""
    return len([file for file in Path("/dev").glob("nvidia*") if file.name[6:].isdigit()])
