"""Other formats that a network can be written in."""
