"""The network, the palindrome walk, its loss and the training step.

Modules:

    resnet, layers                encoders
    walk                          transitions, palindromes, and the loss of walks that do not return
    objective                     from a batch of views to that loss (STFC3, FC3)
    patches                       the same for walks over patches (CRW)
    learner                       the training step; accumulation: in parts; meters: its figures
    timed_input                   how long training waits for clips
    diagnostics                   the collapse ratio
    torch_files, torch_weights    weights from PyTorch
"""
