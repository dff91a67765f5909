#!/usr/bin/env bash
# Make the virtual environment .venv in this checkout: the locked versions and the package itself.
# Do nothing if .venv already holds them. Environment variables:
#   PYTHON=/path/to/python  the interpreter, or its version, such as 3.12; else one that is found
#   STACK=2.15              TensorFlow 2.15 and its add-ons, Python 3.9 to 3.11; the default where
#                           such a Python is found
#   STACK=current           the newest TensorFlow, Python 3.11 and later
#   EXTRAS=gpu,beam         also these extras of setup.py, also into a .venv that exists
#   VENV=folder             instead of .venv
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=${VENV:-.venv}

# suits PYTHON STACK: whether the interpreter has venv and pip, and a version that was tested with
# the stack. The stack "later" means newer versions: they work if TensorFlow supports them.
suits() {
  "$1" - "$2" 2>/dev/null <<'PYTHON'
import sys, venv, ensurepip
stacks = {'2.15': ((3, 9), (3, 12)), 'current': ((3, 11), (3, 14)), 'later': ((3, 14), (4,))}
first, end = stacks[sys.argv[1]]
sys.exit(not first <= sys.version_info < end)
PYTHON
}

# find_python STACK [VERSION]: the first interpreter on the path, or of pyenv or uv, that suits.
find_python() {
  local candidate version
  local -A versions=([2.15]="3.11 3.10 3.9" [current]="3.13 3.12 3.11" [later]="3.14 3.15")
  for version in ${2:-${versions[$1]}} ""; do
    for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python \
        "$(uv python find --no-project ${version:+"$version"} 2>/dev/null || true)" "python${version:-3}"; do
      # Without a version, any that suits; a version that was asked for must be it.
      if suits "$candidate" "$1" && is_of "$candidate" "${2:-3}"; then echo "$candidate"; return; fi
    done
  done
  return 1
}

# is_of INTERPRETER PYTHON: whether the interpreter has the version that PYTHON, a version or an
# interpreter, has.
is_of() {
  local version
  version=$("$1" --version 2>&1) || return 1
  [[ "$version" == "Python $2".* || "$version" == "$("$2" --version 2>&1)" ]]
}

# fetch_python STACK [VERSION]: lets uv fetch an interpreter.
fetch_python() {
  local version=3.11
  [ "$1" != current ] || version=3.13
  command -v uv >/dev/null && uv python install "${2:-$version}" >&2 && find_python "$1" "${2:-$version}"
}

explain() {
  cat >&2 <<MESSAGE
error: $1
Python 3.9, 3.10 or 3.11 is needed (STACK=2.15), or 3.11 and later (STACK=current), with its venv module.
Get one in any of these ways, then run this command again:
  Debian, Ubuntu:  sudo apt-get install python3 python3-venv
  uv:              pip install uv     (it then fetches a Python by itself)
  pyenv:           pyenv install 3.11
  conda:           conda create -n py311 python=3.11; then run with PYTHON=\$(conda run -n py311 which python)
MESSAGE
  exit 1
}

choose() {  # sets python and stack
  local wanted=${STACK:-2.15 current} version=""
  case "${STACK:-current}" in 2.15 | current) ;; *) explain "STACK=$STACK is neither 2.15 nor current." ;; esac
  [[ ! "${PYTHON:-}" =~ ^3\.[0-9]+$ ]] || version=$PYTHON
  if [ -n "${PYTHON:-}" ] && [ -z "$version" ]; then
    python=$PYTHON
    for stack in $wanted; do
      if suits "$python" "$stack"; then return; fi
    done
    if [ "$stack" = current ] && suits "$python" later; then return; fi
    explain "PYTHON=$PYTHON does not suit${STACK:+ STACK=$STACK}: $("$PYTHON" --version 2>&1 || true)"
  fi
  for get in find_python fetch_python; do
    for stack in $wanted; do
      if python=$($get "$stack" $version); then return; fi
    done
  done
  if [ "$stack" = current ] && python=$(find_python later $version); then return; fi
  explain "no Python ${version:+$version }is found that suits${STACK:+ STACK=$STACK}."
}

# What exists is kept where it is of the wanted stack and Python, and up to date.
had="" existing=$(cat "$venv/stack" 2>/dev/null || true)
if [ -n "$existing" ] && [ "${STACK:-$existing}" = "$existing" ] &&
    { [ -z "${PYTHON:-}" ] || is_of "$venv/bin/python" "$PYTHON"; }; then
  stack=$existing python=$venv/bin/python
else
  choose
fi

[ "$stack" = 2.15 ] && always=addons,s3,train,web || always=train,web
extras="$always${EXTRAS:+,$EXTRAS}"
lock=requirements-$stack.lock
versions="$(cat "$lock" setup.py)"
if [ "$existing" = "$stack" ] && [ -x "$venv/bin/python" ] && [ "$(cat "$venv/versions" 2>/dev/null)" = "$versions" ]; then
  had="$(cat "$venv/extras")"
  lacking=""
  for extra in ${extras//,/ }; do
    case ",$had," in *",$extra,"*) ;; *) lacking+=" $extra" ;; esac
  done
  [ -n "$lacking" ] || exit 0
else
  if compgen -G "$venv/*" >/dev/null && [ ! -f "$venv/pyvenv.cfg" ]; then
    echo "error: VENV=$venv is a folder with other things in it, which would be lost: name a new one." >&2
    exit 1
  fi
  # The environment itself cannot make its successor.
  [ "$python" != "$venv/bin/python" ] || STACK=$stack choose
  echo "Setting up $venv with $("$python" --version), TensorFlow ${stack/current/(newest)} (about 0.8 GB to fetch, a few minutes)"
  "$python" -m venv --clear "$venv"
fi
extras="$(echo "$had,$extras" | tr ',' '\n' | sort -u | sed '/^$/d' | paste -sd, -)"

install() {
  "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-input -c "$lock" "$@" && return
  echo "error: pip could not install the versions of $lock for $("$venv/bin/python" --version); its reason is above." >&2
  ! suits "$venv/bin/python" later || echo "TensorFlow may not have come out for it yet: run again with PYTHON=3.13." >&2
  exit 1
}
# The package builds with the setuptools that the lock names instead of fetching another.
install setuptools wheel
install --no-build-isolation -e ".[$extras]"
"$venv/bin/python" -m pip check
echo "$extras" > "$venv/extras"
echo "$stack" > "$venv/stack"
echo "$versions" > "$venv/versions"
