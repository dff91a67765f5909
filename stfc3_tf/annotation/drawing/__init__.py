"""Labels drawn on frames: overlays, legends, names, previews."""
