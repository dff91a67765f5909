"""Labels drawn on frames.

What is where:

    overlay                       objects with a legend, points with trails
    lettering, label_places       names: their font, and where they fit
    preview                       the labelled frames, before a run
"""
