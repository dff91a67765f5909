"""The weights of an encoder that was trained before, for a run that goes on from them."""

from __future__ import annotations

from stfc3_tf import errors
from stfc3_tf.model.resnet import Encoder
from stfc3_tf.serving import compact_weights, encoder_from_export, shipped


def load_into(encoder: Encoder, path_or_name: str) -> None:
    """Give an encoder the weights of an exported one, up to the output that was exported.

    Layers above that output, such as the head, keep the weights that they have. The padding may
    differ: weights do not depend on it.

    Args:
      encoder: of the run.
      path_or_name: the folder of a SavedModel or of compact weights, or the name of an encoder that
        comes with this package.

    Raises:
      errors.UserError: the exported encoder cannot be read, or is of another architecture.
    """
    try:
        exported, metadata = encoder_from_export.rebuild(path_or_name)
    except errors.UserError as error:
        raise errors.UserError(f'train.initial_encoder = {path_or_name!r}: {error}') from error
    layer = metadata['layer']
    _check_same_kind(encoder, exported, layer, path_or_name)
    given = compact_weights.weights_by_name(exported.part(layer))
    for name, variable in compact_weights.weights_by_name(encoder.part(layer)).items():
        variable.assign(given[name].numpy())


def fingerprint(path_or_name: str | None) -> str:
    """Return the digest of an encoder, or '' if there is none."""
    if not path_or_name:
        return ''
    try:
        return encoder_from_export.digest(shipped.folder_of(path_or_name))
    except errors.UserError:
        return ''


def name_of(path_or_name: str) -> str:
    """Return how an encoder is called, without the path of its folder; a run's, as the run is."""
    return path_or_name.rstrip('/').removesuffix('/saved_model').rstrip('/').split('/')[-1]


def _check_same_kind(encoder: Encoder, exported: Encoder, layer: str, path_or_name: str) -> None:
    """Raise UserError unless the weights of one encoder mean the same in the other."""
    if not encoder.arguments:
        raise errors.UserError(
            'train.initial_encoder is for a resnet18, and train.encoder makes a '
            f'{encoder.name}: leave one of the two out.'
        )
    differences = [
        f'resnet18.{name} = {theirs} there and {ours} here'
        for name, theirs, ours in _compared(encoder, exported, layer)
        if theirs != ours
    ]
    if differences:
        raise errors.UserError(
            f'train.initial_encoder = {path_or_name!r} does not fit the encoder of this run: '
            f'{"; ".join(differences)}. Give both the same, or leave train.initial_encoder out.'
        )


def _compared(encoder: Encoder, exported: Encoder, layer: str) -> list[tuple[str, object, object]]:
    """Return (argument, exported value, own value) of what has to agree."""
    theirs, ours = exported.arguments, encoder.arguments
    names = ['width', 'statistics', *(['head_order', 'head_widths'] if layer == 'head' else [])]
    # A head follows the last stage, so that one has to be the same.
    depth = None if layer == 'head' else len(theirs['stage_strides'])
    return [
        ('stage_strides', tuple(theirs['stage_strides']), tuple(ours['stage_strides'])[:depth]),
        *((name, theirs[name], ours[name]) for name in names),
    ]
