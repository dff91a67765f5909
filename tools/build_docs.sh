#!/usr/bin/env bash
# Build the documentation's site in build/site. A broken link is an error. Needs the extra `docs`;
# MKDOCS=/path/to/mkdocs chooses another installation. TensorFlow is not needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdocs=${MKDOCS:-${VENV:-.venv}/bin/mkdocs}
command -v "$mkdocs" >/dev/null || {
  echo "$mkdocs is missing. Run: EXTRAS=docs bash tools/setup.sh" >&2
  exit 1
}
export NO_MKDOCS_2_WARNING=1
exec "$mkdocs" build --quiet --strict --site-dir build/site "$@"
