"""Data sets: every kind gives pictures with depth in metres and the focal length."""
