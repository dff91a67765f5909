"""The settings of CRW, VFS and DINO with small windows, and grids of cells to try them on."""

import dataclasses

import pytest

from stfc3_tf.propagation.settings import PropagationSettings

CRW = PropagationSettings(context=3, radius=3.0, top_k=4)
VFS = dataclasses.replace(CRW, repeat_first=False, restrict_first=True, temperature=0.07)
DINO = dataclasses.replace(
    VFS,
    window='square',
    radius=2.0,
    first_among_preceding=False,
    keep_ties=True,
    temperature=0.1,
)
each_protocol = pytest.mark.parametrize('settings', [CRW, VFS, DINO], ids=['crw', 'vfs', 'dino'])
each_grid = pytest.mark.parametrize(
    'grid', [(5, 7), (14, 26), (33, 3), (32, 4), (1, 30), (29, 1), (1, 1)]
)
