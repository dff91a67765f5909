"""Labels drawn on frames.

Modules:

    overlay                       objects with a legend, points with trails
    names, label_places           names: how large, and where they fit
    preview                       the labelled frames, before a run
"""
