"""What people mark in some frames of a video, read from files."""
