#!/usr/bin/env bash
# Install the locked versions in a new environment of each Python that is named, by default 3.9 and
# 3.10, and run the fast tests there. Run it once per change of a lock file, and copy the rows that
# it prints into docs/installation.md. STACK and PYTEST_ADDOPTS as for tools/run_tests.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -gt 0 ] || set -- 3.9 3.10

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export VENV=$work/venv CUDA_VISIBLE_DEVICES=-1
rows=() status=0
for version in "$@"; do
  PYTHON=$version bash tools/run_tests.sh -m "not slow" -p no:cacheprovider 2>&1 |
    tee "$work/log" || status=1
  lock=requirements-$(cat "$VENV/stack").lock
  rows+=("| $("$VENV/bin/python" --version) | \`$lock\` | \`$(sha256sum "$lock" | cut -c -16)\` | \
$(git rev-parse --short HEAD), $(date +%F) | $(tail -n 1 "$work/log" | tr -d =) |")
  rm -rf "$VENV"
done
printf '%s\n' "${rows[@]}"
exit "$status"
