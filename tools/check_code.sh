#!/usr/bin/env bash
# Checks format, style and types; needs EXTRAS=dev bash tools/setup.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=${VENV:-.venv}/bin

"$bin/ruff" format --check --quiet .
"$bin/ruff" check --quiet .
"$bin/python" -m mypy
