"""The page on which people mark, propagate, look and correct.

What is where:

    server, guard                 HTTP, and who may use it
    desk, opened                  the videos that may be opened, and one that is open
    tasks                         what is done with its marks: propagated, exported
    options                       how the page works
    frame_store                   frames as JPEGs
    job, loading_encoder          work in threads
    static/                       the page itself: HTML, CSS, JavaScript
"""
