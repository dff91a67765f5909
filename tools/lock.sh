#!/usr/bin/env bash
# Write requirements-2.15.lock and requirements-current.lock from setup.py. Versions in the locks
# are kept where they still fit; UPGRADE=1 takes the newest. Needs uv. Then run
# tools/check_pythons.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extras=()
for extra in test train onnx tflite serving beam formats dev docs; do extras+=(--extra "$extra"); done

# Later versions of backports-strenum refuse Python 3.11 and later, which uv does not see.
lock() {  # lock FILE PYTHON TENSORFLOW TITLE [ARGUMENT...]
  local file=$1 python=$2 tensorflow=$3 title=$4
  shift 4
  echo "Writing $file"
  uv pip compile --quiet --universal --python-version "$python" "${extras[@]}" "$@" \
    ${UPGRADE:+--upgrade} --no-header --no-annotate --no-emit-index-url \
    --constraint <(echo "$tensorflow"; echo 'backports-strenum<1.3') --output-file "$file" setup.py
  sed -i "1i# The versions that were tested together: $title. Made by tools/lock.sh." "$file"
}

lock requirements-2.15.lock 3.9 'tensorflow<2.16' 'TensorFlow 2.15 on Python 3.9, 3.10 and 3.11' \
  --extra addons --extra s3
lock requirements-current.lock 3.11 'tensorflow>=2.16' \
  'the newest TensorFlow on Python 3.11 and later'
