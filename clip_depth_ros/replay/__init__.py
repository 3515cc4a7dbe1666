"""Reading, writing and replaying recordings."""
