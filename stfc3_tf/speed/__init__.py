"""The speed of each part of the system on this machine, compared with what the machine can do.

Each measurement runs in its own process, so that its peak memory is its own. What it is compared
with is measured in the same process: the ratios within one run are meaningful on a busy machine
too; the absolute figures only on a quiet one.

    timing.py          processes, seconds per call, peak memory
    machine.py         the speed of convolutions, with which others are compared
    operations.py      the operations of networks and of training steps, counted
    preparation.py     videos to shards
    input_views.py     clips to views
    training_step.py   a step of training
    walk.py            the walk alone
    features.py        a frame to features
    export_formats.py  a frame to features, in every export format
    propagation.py     features to labels
    whole_loop.py      frames to masks
"""
