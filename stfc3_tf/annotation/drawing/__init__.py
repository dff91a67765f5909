"""Labels drawn on frames.

What is where:

    overlay                       objects with a legend, points with trails
    label_places                  where names fit
    preview                       the labelled frames, before a run
"""
