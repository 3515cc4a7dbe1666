"""How good depth is, over a whole recording: by image, distance, region and time, in points and against a constant."""

from clip_depth_ros.replay.scores.recording import Scores

__all__ = ["Scores"]
