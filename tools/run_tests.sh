#!/usr/bin/env bash
# Install if necessary (tools/setup.sh says how to choose Python and TensorFlow), then run the tests
# on the CPU. Arguments go to pytest (tests/model, -m "not slow", -k davis, -x, ...).
# Where neither tests nor -n are named, two processes share the files of tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
EXTRAS=test,beam,serving${EXTRAS:+,$EXTRAS} bash tools/setup.sh
python=${VENV:-.venv}/bin/python
shared=()
if ! [[ " $*" =~ \ (tests|-n|-s|--pdb) ]] &&
  "$python" -c 'import os, xdist; exit(os.cpu_count() < 2)' 2>/dev/null; then
  shared=(-n 2 --dist loadfile)
fi
CUDA_VISIBLE_DEVICES=-1 exec "$python" -m pytest ${shared[@]+"${shared[@]}"} "$@"
