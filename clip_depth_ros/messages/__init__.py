"""What camera messages hold, read without ROS: live messages and those of bags have the same fields."""
