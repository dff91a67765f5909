#!/usr/bin/env bash
# Installs if need be, then runs the tests on the CPU; arguments go to pytest (tests/test_walk.py, -k davis, -x, ...).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
EXTRAS=test${EXTRAS:+,$EXTRAS} bash tools/setup.sh
CUDA_VISIBLE_DEVICES=-1 TF_CPP_MIN_LOG_LEVEL=2 exec .venv/bin/python -m pytest "$@"
