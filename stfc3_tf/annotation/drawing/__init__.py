"""Labels drawn on frames.

What is where:

    overlay                       objects with a legend, points with trails
    names, label_places           names: how large, and where they fit
    preview                       the labelled frames, before a run
"""
