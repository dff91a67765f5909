"""Labels carried from frame to frame through features."""
