"""A recording replayed without ROS: every picture through the estimator, compared with what the recording measured."""
