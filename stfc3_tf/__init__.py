"""Video correspondence without labels: STFC3 in TensorFlow.

    import stfc3_tf

    encoder = stfc3_tf.load('runs/mine/saved_model')
    for points, confidence in stfc3_tf.propagate_points(encoder, frames, first_points):
        ...

The names below are imported when they are first used: `import stfc3_tf` alone does not import
TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stfc3_tf import stack, stopping
from stfc3_tf.commands import flag_check
from stfc3_tf.version import __version__

stopping.prepare_import()
stack.prepare()

if TYPE_CHECKING:
    from stfc3_tf.annotation.marks.request import Request
    from stfc3_tf.annotation.propagate import (
        MaskLabel,
        PointLabel,
        propagate_masks,
        propagate_points,
    )
    from stfc3_tf.clips.footage import open_footage
    from stfc3_tf.clips.part import open_part
    from stfc3_tf.errors import UserError
    from stfc3_tf.propagation.extractor import FeatureExtractor
    from stfc3_tf.propagation.finer_cells import FinerCells
    from stfc3_tf.propagation.propagator import Propagator
    from stfc3_tf.propagation.settings import PropagationSettings
    from stfc3_tf.serving.client import connect
    from stfc3_tf.serving.export import export
    from stfc3_tf.serving.loading import load
    from stfc3_tf.views.cell_grid import CellGrid

# Name -> the module that defines it.
_HOMES = {
    'CellGrid': 'views.cell_grid',
    'FeatureExtractor': 'propagation.extractor',
    'FinerCells': 'propagation.finer_cells',
    'MaskLabel': 'annotation.propagate',
    'PointLabel': 'annotation.propagate',
    'PropagationSettings': 'propagation.settings',
    'Propagator': 'propagation.propagator',
    'Request': 'annotation.marks.request',
    'UserError': 'errors',
    'connect': 'serving.client',
    'export': 'serving.export',
    'load': 'serving.loading',
    'open_footage': 'clips.footage',
    'open_part': 'clips.part',
    'propagate_masks': 'annotation.propagate',
    'propagate_points': 'annotation.propagate',
}

__all__ = [
    'CellGrid',
    'FeatureExtractor',
    'FinerCells',
    'MaskLabel',
    'PointLabel',
    'PropagationSettings',
    'Propagator',
    'Request',
    'UserError',
    '__version__',
    'connect',
    'export',
    'load',
    'open_footage',
    'open_part',
    'propagate_masks',
    'propagate_points',
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)


flag_check.check_command_of_python(r'stfc3_tf\.(train|tools\.\w+)')
