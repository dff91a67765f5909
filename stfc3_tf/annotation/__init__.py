"""Users' own videos: marks in, labels of all frames out."""
