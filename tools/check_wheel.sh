#!/usr/bin/env bash
# Build the wheel, install it into an empty environment, and use it outside the checkout: propagate
# a clip, evaluate a baseline. Packages that need TensorFlow 2.15 must not be needed. VENV names the
# environment whose Python and lock file are used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(realpath -s "${VENV:-.venv}")/bin/python
lock=$PWD/requirements-$(cat "${VENV:-.venv}/stack").lock
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/source"
cp -r stfc3_tf gin tools setup.py pyproject.toml README.md LICENSE "$work/source"
"$python" -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation \
  -w "$work" "$work/source"
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-input \
  -c "$lock" "$work"/*.whl
"$work/venv/bin/python" -m pip check
rm -rf "$work/source"

cd "$work"
export CUDA_VISIBLE_DEVICES=-1
stfc3=$work/venv/bin/stfc3
samples=$("$work/venv/bin/python" -c 'import stfc3_tf; print(stfc3_tf.__path__[0])')/samples
for name in tensorflow_addons tensorflow_io keras_cv tensorflow_datasets pytest; do
  ! "$work/venv/bin/python" -c "import $name" 2>/dev/null || { echo "error: a slim install has $name" >&2; exit 1; }
done
"$stfc3" --help >/dev/null
"$stfc3" propagate --video="$samples/cup.mp4" --mask="$samples/cup_mask.png" --output_dir=out
ls out/masks/000071.png out/overlay.mp4 out/confidence.csv
"$stfc3" evaluate --task=synthetic --baseline=identity --output_dir=scores
echo "The wheel works alone with $("$work/venv/bin/python" --version)."
