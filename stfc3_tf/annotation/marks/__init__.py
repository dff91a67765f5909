"""Marks that people make in some frames of a video, read from files.

Modules:

    request, video_list           what a command asks for: one video, or many
    inputs                        masks or points of some frames, ready to be propagated
    mask_file                     a mask, from a picture of any kind
    flat_colours, colour_numbers  the colours of drawn masks as object numbers
    points_file                   points, from JSON or a table
    other_tools                   labels of other tools, which `formats` reads
    mix_ups                       flags that were mixed up
"""
