"""Depth from one CLIP encode. Pure PyTorch: nothing here knows of ROS."""
