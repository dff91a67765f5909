#!/usr/bin/env bash
# Installs if need be, then trains a small model on built-in synthetic scenes to its end;
# arguments go to the training command (--data=..., --gin_bindings=...).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup.sh
exec .venv/bin/python -m stfc3_tf.train --gin_file=gin/quickstart.gin --model_dir=runs/quickstart "$@"
