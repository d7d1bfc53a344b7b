# Shared by the tools: packages, configuring, building.
# shellcheck shell=bash disable=SC2034

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

build_packages=(cmake ninja-build gcc libc6-dev pkg-config lua5.4 liblua5.4-dev libev-dev
  libc-ares-dev libboost-context-dev libedit-dev libssl-dev node-llhttp zlib1g-dev
  libwslay-dev)
test_packages=(lua-busted lua-check clang-format valgrind lua-ldoc lua-markdown lua5.1 procps g++
  # clients and servers that the specs talk to, and libraries that they run
  netcat-openbsd curl openssl dnsmasq-base microsocks nginx-light redis-server postgresql systemd
  vsftpd lua-orbit python3-aiosmtpd python3-websockets python3-websocket chromium
  lua-cjson lua-socket lua-sec lua-redis lua-sql-postgres lua-dbi-postgresql)
fuzz_packages=(clang libclang-rt-dev llvm)

# A line that the next one replaces; people at a terminal only.
progress() {
  if [[ -t 2 ]]; then printf '\r\033[K%s' "$1" >&2; fi
}

# die MESSAGE [LOG]
die() {
  progress ""
  if [[ -n ${2-} ]]; then cat "$2" >&2; fi
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit 1
}

# Asking dpkg costs more than all the rest of a run that has nothing to do, so
# the answer is kept. A failed build forgets it.
ensure_packages() { # STAMP PACKAGE...
  local stamp=$root/build/$1 missing=() package
  shift
  if [[ -f $stamp && $(<"$stamp") == "$*" ]]; then return; fi
  # Elsewhere than on Debian, CMake says what it misses.
  command -v dpkg-query >/dev/null || return 0
  for package; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      missing+=("$package")
  done
  if ((${#missing[@]})); then install_packages "${missing[@]}"; fi
  mkdir -p "$root/build"
  printf '%s\n' "$*" >"$stamp"
}

install_packages() {
  local log=$root/build/packages.log
  if ((EUID)); then
    printf 'These packages are needed and not installed. As root:\n\n  %s %s\n\n' \
      'apt-get install --no-install-recommends' "$*" >&2
    exit 1
  fi
  mkdir -p "$root/build"
  progress "installing $*"
  # Package lists may be absent or out of date: then once more with fresh ones.
  apt_install "$@" >"$log" 2>&1 ||
    { apt-get update && apt_install "$@"; } >>"$log" 2>&1 ||
    die "could not install $*" "$log"
  # CMake remembers what was missing.
  rm -f "$root"/build/*/{CMakeCache.txt,build.ninja}
  progress ""
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
    install -y --no-install-recommends "$@" </dev/null
}

# Brings build/PRESET up to date, or what of it is named.
build() { # PRESET [TARGET...]
  local preset=$1 dir=$root/build/$1 targets=("${@:2}")
  mkdir -p "$dir"
  (
    # Two of us at once would build into the same directory.
    exec 9>"$dir/.lock"
    flock 9
    cd "$root" || exit
    # Ninja notices a change of CMakeLists.txt, but not of the presets.
    if [[ ! -f $dir/build.ninja || CMakePresets.json -nt $dir/build.ninja ]]; then
      progress "configuring $preset"
      cmake --preset "$preset" >"$dir/build.log" 2>&1 </dev/null || failed_build
      touch "$dir/build.ninja"
    fi
    ninja_quietly
  )
}

ninja_quietly() {
  if [[ -t 2 ]]; then
    ninja -C "$dir" "${targets[@]}" </dev/null 2>&1 | tee "$dir/build.log" | while IFS= read -r line; do
      if [[ $line == \[[1-9]* ]]; then progress "building: ${line:0:65}"; fi
    done || failed_build
    progress ""
  else
    ninja -C "$dir" "${targets[@]}" >"$dir/build.log" 2>&1 </dev/null || failed_build
  fi
}

failed_build() {
  rm -f "$root"/build/*.stamp
  die "the build of '$preset' failed" "$dir/build.log"
}
