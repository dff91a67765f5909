"""Reads clips for trainers on other machines: `python -m tools.data_server --data=VIDEOS --host=NAME --port=5050`.

Start one on each machine that is to help, with the --data of the run, and train with
`--gin_bindings="train.data_servers = ['NAME:5050', ...]"`. Runs until it is stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
import socket

from absl import flags, logging

from stfc3_tf import command, data_service

_DATA = flags.DEFINE_string(
    'data', None, 'Videos, as for stfc3_tf.train; without it, built-in synthetic scenes.'
)
_HOST = flags.DEFINE_string(
    'host', socket.gethostname(), 'Name or address under which the trainers reach this machine.'
)
_PORT = flags.DEFINE_integer(
    'port', 5050, 'Port of the dispatcher; the worker takes the next one.', lower_bound=1
)
_FRAME_FOLDER_RATE = flags.DEFINE_float(
    'frame_folder_rate',
    24.0,
    'Frames per second at which frame folders were extracted, as train.frame_folder_rate.',
)


def main(_: Sequence[str]) -> None:
    """Starts the server and waits."""
    server = data_service.Server(_DATA.value, _HOST.value, _PORT.value, _FRAME_FOLDER_RATE.value)
    logging.info('Serving clips as %s:%d.', _HOST.value, _PORT.value)
    server.join()


if __name__ == '__main__':
    command.run(main)
