"""Labels carried from frame to frame through features.

Modules:

    extractor                     the contract of all encoders
    finer_cells                   an encoder with features at half the stride
    settings, input_size          settings that protocols choose
    one_frame                     labels of one frame from its context
    compared                      features that cells are compared by, exact or rounded
    window_search, whole_search   the most similar cells, within a window or of whole frames
    propagator, numpy_propagator  frame after frame, with TensorFlow or without
    compiled_propagator, static_search, tiles    the same in static shapes, for XLA
    choice                        which propagator
    candidates, matched_propagator    the same in two parts: similar cells, and labels
    brute_force                   the same as it is defined, slow
    ahead                         the next frame is prepared meanwhile
    tracker                       from frames to labels, for benchmarks
    label_maps                    masks and points as maps on the grid of cells, and back
    cell_centres                  where cells are in the picture
    codecs, tracks, label_geometry    the same as protocols do it
    grids                         windows on the grid of cells
    shapes                        checks
"""
