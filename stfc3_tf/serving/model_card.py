"""The model card in every export."""

from __future__ import annotations

from collections.abc import Mapping
import json
import string
from typing import Any

FILE = 'MODEL_CARD.md'
UNSTATED = 'Not stated. Fill this in before you share the model.'

_CARD = string.Template(
    """# Model card: $encoder, $layer

An encoder of single video frames, trained without labels. It returns one feature vector per cell
of $stride x $stride pixels. Cells of two frames that show the same thing have similar features.

| | |
|---|---|
| File | `$file` |
| Licence | $licence |
| Training data | $training_data |
| Origin | $origin |
| Training step | $step |
| Features | $channels channels of the output `$layer`, float32, L2-normalised |
| Cell grid | cell i is centred on pixel $first + $stride i |
| Colour statistics | mean $mean, standard deviation $std (red, green, blue in [0, 1]) |
| SHA-256 of the weights | `$weights_sha256` |
| SHA-256 of `$file` | `$file_sha256` |
| Versions | $versions |

## Intended use

Carry masks or points of one frame through a video, or compare parts of frames:

```python
import stfc3_tf

encoder = stfc3_tf.load('FOLDER_OF_THIS_FILE')
for label in stfc3_tf.propagate_points(encoder, frames, first_points):
    print(label.points, label.confidence)
```

Settings of the propagation at export: $propagate.

## Known failures

* Things that are hidden for long, or leave the picture, are lost; a hidden point may jump to
  something that looks alike.
* Two things that look alike and meet may be exchanged.
* Things that move further between two frames than the radius of the propagation are lost.
* Details smaller than a cell ($stride pixels of the encoder's input) are not kept apart.
* The confidence of a label is not a probability.
* The training data may show some people, places and things more often than others. Measure the
  errors on your own footage before you rely on the model. It is not meant to identify persons.

## Architecture

```json
$arguments
```

## Configuration of the training

```
$config
```
"""
)


def fill(description: Mapping[str, Any], file: str, file_sha256: str) -> str:
    """Return the card of an export.

    Args:
      description: see `description.describe`; 'licence' and 'training_data' are the user's words.
      file: name of the model's file in the export.
      file_sha256: its digest.

    Returns:
      Markdown.
    """
    statistics, grid = description['statistics'], description['cell_grid']
    return _CARD.substitute(
        {name: description[name] for name in ('encoder', 'layer', 'channels', 'weights_sha256')},
        file=file,
        file_sha256=file_sha256,
        licence=description.get('licence') or UNSTATED,
        training_data=description.get('training_data') or UNSTATED,
        origin=_origin(description),
        step=description.get('step', 'unknown'),
        first=grid['first'],
        stride=grid['stride'],
        mean=_numbers(statistics['mean']),
        std=_numbers(statistics['std']),
        versions=', '.join(f'{name} {text}' for name, text in description['versions'].items()),
        propagate=', '.join(
            f'{name} = {value}' for name, value in description['propagate'].items()
        ),
        arguments=json.dumps(description.get('arguments', {}), indent=2),
        config=description.get('config', 'Not known.').strip(),
    )


def _origin(description: Mapping[str, Any]) -> str:
    """Return where the weights come from."""
    if 'checkpoint_sha256' in description:
        return f'`{description["checkpoint"]}`, SHA-256 `{description["checkpoint_sha256"]}`'
    return 'a training run of stfc3_tf' if 'config' in description else 'an encoder in memory'


def _numbers(values: tuple[float, ...]) -> str:
    return ', '.join(f'{value:g}' for value in values)
