#!/usr/bin/env bash
# Installs if need be, trains a small model on built-in synthetic scenes to its end, exports it, and scores it on
# scenes it has not seen; arguments go to the training command (--data=..., --gin_bindings=...).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup.sh
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
.venv/bin/python -m stfc3_tf.train --gin_file=gin/quickstart.gin --model_dir=runs/quickstart "$@"
exec .venv/bin/python -m tools.score --model_dir=runs/quickstart
