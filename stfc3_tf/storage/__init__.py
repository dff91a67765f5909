"""Paths on any file system, files that are whole or absent, pictures.

Modules:

    files, folders, text          reading; object_store: from s3:// and others
    writing, workplace            writing
    lock                          one process per folder
    names, frame_names            names of data sets as file names; the order of frames
    images, palette               pictures and masks
    state                         JSON, checked against a schema
    pickles, mat_size             pickles and MATLAB files of strangers
    spool                         arrays on disk while a program runs
    bounded_folder                arrays kept on disk within a set size
"""
