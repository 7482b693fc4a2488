# Sourced by the scripts: finds a Python and makes a virtual environment from pyproject.toml and constraints.txt.

find_python() {
  local name
  for name in python3.14 python3.13 python3.12 python3.11 python3; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  echo "Python 3.11 or newer is needed and was not found; install it and run this again." >&2
  return 1
}

# make_environment DIRECTORY [pip arguments]: an environment with the package, editable, and the groups asked for.
# It is made anew when what it is made from has changed.
make_environment() {
  local directory=$1 python stamp
  shift
  python=$(find_python)
  stamp="$("$python" --version) $* $(cat pyproject.toml constraints.txt | cksum)"
  if [ "$(cat "$directory/.made-from" 2>/dev/null)" = "$stamp" ]; then
    return
  fi
  echo "Making the environment $directory (once) ..." >&2
  rm -rf "$directory"
  if ! "$python" -m venv "$directory"; then
    echo "Python's venv module does not work; on Debian and Ubuntu: apt-get install python3-venv" >&2
    return 1
  fi
  "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' --constraint constraints.txt
  "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --build-constraint constraints.txt --editable . "$@"
  echo "$stamp" > "$directory/.made-from"
}
