#!/usr/bin/env bash
# Install if necessary, train a small model on built-in synthetic scenes, export it, and score it on
# scenes that it has not seen. Arguments go to the training command (--data=..., for example).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup.sh
python=${VENV:-.venv}/bin/python
"$python" -m stfc3_tf.train --gin_file=gin/quickstart.gin --model_dir=runs/quickstart "$@"
exec "$python" -m tools.score --model_dir=runs/quickstart
