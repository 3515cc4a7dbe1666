"""ROS 2 messages and nodes; no network code."""
