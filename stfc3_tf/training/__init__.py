"""A training run: built, resumed, watched and kept.

Modules:

    run                           the whole run
    settings, build               its settings, and the learner made from them
    input_pipeline                batches of views
    run_folder                    the model folder
    initial_weights               the weights of an exported encoder, to go on from
    resume_check                  whether a run may be resumed with these settings and data
    checkpoints, checkpoint_files    saving, and restoring when files are damaged
    learning_rate                 whether the schedule fits the length of the run
    monitor                       the callbacks that watch a run; their parts:
                                  scalars, encoder_callbacks, run_pictures, probe_clips,
                                  skipped_steps
    event_writer, descriptions    TensorBoard's files, and what each scalar means
    signals                       a run that is stopped
    reload, scorecard             a finished run: its encoder, and its scores
"""
