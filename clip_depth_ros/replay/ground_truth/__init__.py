"""What a recording knows of depth: its depth camera or LiDAR, put into the pictures of its camera."""
