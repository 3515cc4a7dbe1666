"""Recordings of a robot as ground truth: transforms, pairing, projection and extraction."""
