"""The meaning of each scalar and picture in TensorBoard, shown by the mark beside its name."""

import re

_DESCRIPTIONS = {
    'reading/clips_per_second': (
        'Clips per second during steps. Pictures, probes and checkpoints do not count.'
    ),
    'reading/skipped_videos': 'Videos that could not be read so far.',
    'reading/wait_share': (
        'Share of the time of the steps in which they waited for clips. Near 0, the input is fast '
        'enough.'
    ),
    'probe/collapse_ratio': (
        'Whether the encoder cheats: the affinity of two unrelated frames on its diagonal, against '
        'chance. 1 is good. Far above 1, the encoder learns where a cell is, not what it shows; '
        'the loss does not tell.'
    ),
    'probe/held_out_score': (
        'J (mean IoU) of masks propagated through built-in scenes, from 0 to 1. It decides which '
        'checkpoint is the best.'
    ),
    'train/cycle_accuracy': 'Share of the walks whose likeliest end is their start.',
    'train/gradient_norm': 'Length of the gradient of all weights.',
    'train/learning_rate': 'The learning rate of the next step.',
    'train/loss': (
        '-log of the probability to return, over start cells and cycles. Compare it only between '
        'runs with the same settings. A collapsed encoder has a low loss.'
    ),
    'train/loss/cycle_N': 'The part of the loss of the walks that turn back after N frames.',
    'train/return_probability': 'How likely a walk returns to its start.',
    'train/skipped_steps': 'Steps without an update, because the gradient was not finite.',
    'train/visible_fraction': 'Share of the start cells that the forward view contains.',
    'visuals/affinity': (
        'Transitions from the cells of a frame (rows) to those of a later frame, on the left, and '
        'of a frame of another video, on the right. A diagonal on the right is the shortcut.'
    ),
    'visuals/features': (
        'Frames of a clip above their features; the three colours are the three main directions '
        'in which the features differ. What belongs together should keep its colour.'
    ),
    'visuals/masks': (
        'The mask of the first frame, carried through a built-in scene that training never shows; '
        'the true masks below.'
    ),
    'visuals/views': (
        'The forward and the backward view of a frame; the forward view warped onto the backward '
        'one, both half transparent; the part that both show. Where they differ, the loss is wrong.'
    ),
}


def description(name: str) -> str:
    """Return what a scalar or picture means; '' for meters that a user's own learner adds."""
    return _DESCRIPTIONS.get(re.sub(r'cycle_\d+$', 'cycle_N', name), '')
