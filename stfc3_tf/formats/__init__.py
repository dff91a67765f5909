"""Labels in the files of other tools: read, and written.

Modules:

    reading                       which tool wrote a file
    labels                        what any of them says, in one form
    writing, results              which formats are written, and what they get
    coco, cvat, labelme, yolo, deeplabcut, sleap, tapvid    a tool each
    polygons                      polygons around masks and back
    hdf5, packages                what some of them need
"""
