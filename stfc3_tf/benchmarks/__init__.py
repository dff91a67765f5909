"""Benchmarks: per data set one reader, protocol, metric and official output format.

Modules:

    tasks                          the benchmarks by the name of `tools.evaluate --task`
    davis, jhmdb, badja, vw300, tapvid, synthetic_scenes    a data set each
    metrics                        every number, defined once
    evaluation                     one run of `tools.evaluate`, from its flags to its results
    contract, records, runner      the interface of a data set; how it is run, and what is kept
    frame_checks                   whether the frames of a sequence fit each other
    baselines                      encoders to compare with
    held_out_score                 a quick score on built-in scenes while an encoder trains
    moved_frames                   how well features find a cell again in the same frame, moved
"""
