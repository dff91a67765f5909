"""People's own videos: from labels of some frames to labels of all frames.

Modules:

    marks/                        what people mark, read from files
    given_labels, label_codecs    the given labels, as label maps and back
    propagate                     labels of some frames carried to all; for Python users
    both_ways, agreement          between two labelled frames: both directions, and which counts
    frame_lists                   frames that a program gives
    outputs, video_job            results of one video as files
    result_file                   contents of result.json
    many_videos                   many videos, one after the other
    drawing/                      labels drawn on frames
    session, session_results      what a person marks on the page, and its results
    session_import, session_export    labels from files, and results as files
    stretches, replaced_frames    what is computed again after a correction
    kept_features, kept_matches   features and similar cells, kept on disk
    kept_model                    the encoder that a session's results come from
    page/                         the page in the browser
    corrections, correction_time  what corrections are worth, and their time
"""
