"""A clip becomes two views: crops, flips and colour, with the matrices between them.

Modules:

    sampler                       the views of STFC3 and FC3: crops and flips
    patches                       the patches of CRW
    colour                        changes of colour
    geometry                      the matrices, and the warp of features
    cell_grid                     where the cells of a feature map are
"""
