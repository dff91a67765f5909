#!/usr/bin/env bash
# Makes the virtual environment .venv in this checkout: the locked versions and the package itself.
# Does nothing where .venv already holds them. PYTHON=/path/to/python3.11 chooses the interpreter,
# EXTRAS=gpu,figures adds the extras of setup.py that are named, also to a .venv that exists.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

suits() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 9) <= sys.version_info < (3, 12))' 2>/dev/null
}

find_python() {
  local candidate
  for candidate in python3.11 python3.10 python3.9 python3 python \
      "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.{11,10,9}.*/bin/python; do
    if suits "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  # uv fetches a Python of its own where the machine has none that suits.
  command -v uv >/dev/null && uv python install 3.11 >&2 && uv python find 3.11
}

extras=${EXTRAS:-}
versions="$(cat requirements.lock setup.py)"
had=""
if [ -x .venv/bin/python ] && [ "$(cat .venv/versions 2>/dev/null)" = "$versions" ]; then
  had="$(cat .venv/extras)"
  lacking=""
  for extra in ${extras//,/ }; do
    case ",$had," in *",$extra,"*) ;; *) lacking+=" $extra" ;; esac
  done
  [ -n "$lacking" ] || exit 0
fi

python=${PYTHON:-$(find_python || true)}
if ! suits "$python"; then
  cat >&2 <<'MESSAGE'
error: Python 3.9, 3.10 or 3.11 is needed (TensorFlow 2.15 has nothing for later ones), with its venv module.
Get one in any of these ways, then run this command again:
  Debian, Ubuntu:  sudo apt-get install python3.11 python3.11-venv
  uv:              pip install uv     (it then fetches Python 3.11 by itself)
  pyenv:           pyenv install 3.11
  conda:           conda create -n py311 python=3.11; then run with PYTHON=$(conda run -n py311 which python)
MESSAGE
  exit 1
fi

if [ ! -f .venv/versions ] || [ "$(cat .venv/versions)" != "$versions" ]; then
  echo "Setting up .venv with $("$python" --version) (about 0.8 GB to fetch, a few minutes)"
  "$python" -m venv --clear .venv
fi
extras="$(echo "$had,$extras" | tr ',' '\n' | sort -u | sed '/^$/d' | paste -sd, -)"
pip=(.venv/bin/python -m pip --disable-pip-version-check install --quiet --no-input -c requirements.lock)
# The package builds with the setuptools that the lock names instead of fetching another.
"${pip[@]}" setuptools wheel
"${pip[@]}" --no-build-isolation -e ".${extras:+[$extras]}"
.venv/bin/python -m pip check
echo "$extras" > .venv/extras
echo "$versions" > .venv/versions
