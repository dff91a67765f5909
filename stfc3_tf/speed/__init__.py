"""The speed of each part of the system on this machine, compared with what the machine can do.

Each measurement runs in its own process, so that its peak memory is its own. What it is compared
with is measured in the same process: the ratios within one run are meaningful on a busy machine
too; the absolute figures only on a quiet one. Only the modules `torch_...` import PyTorch.

Modules:

    timing             processes, seconds per call, peak memory
    machine            the speed of convolutions, with which others are compared
    operations         the operations of networks and of training steps, counted
    preparation        videos to shards
    input_views        clips to views
    training_step      a step of training
    walk               the walk alone
    features           a frame to features
    export_formats     a frame to features, in every export format
    propagation        features to labels
    compiled_propagation    the same, compiled by XLA
    whole_loop         frames to masks
    growth             how the time of propagation grows
    overlap            the agreement of two masks
    alternation        calls that are timed in turn
    against_pytorch    this project's calls in turn with PyTorch's
    torch_calls        PyTorch's, of torch_network, torch_walk and torch_propagation
"""
