"""The page on which people mark, propagate, look and correct.

Modules:

    server, handlers, guard       HTTP: listening, what is asked for, and who may ask
    desk, opened                  the videos that may be opened, and one that is open
    tasks                         what is done with its marks: propagated, exported
    search_ahead                  search for similar cells while a person marks
    options                       how the page works
    frame_store, sent_mask        frames as JPEGs, masks that come as PNGs
    job, loading_encoder          work in threads
    static/                       the page itself: HTML, CSS, JavaScript
"""
