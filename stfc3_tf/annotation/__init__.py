"""People's own videos: from labels of some frames to labels of all frames.

What is where:

    marks/                        what people mark, read from files
    given_labels, label_codecs    the given labels, as label maps and back
    propagate                     labels of some frames carried to all; for Python users
    both_ways, agreement          between two labelled frames: both directions, and which counts
    frame_lists                   frames that a program gives
    outputs, video_job            results of one video as files
    many_videos                   many videos, one after the other
    drawing/                      labels drawn on frames
    session, session_results, session_export    what a person marks on the page, and its results
    stretches, replaced_frames    what is computed again after a correction
    kept_features, kept_matches   features, and what is similar in them, kept on disk
    page/                         the page in the browser
    corrections, correction_time  what corrections are worth, and their time
"""
