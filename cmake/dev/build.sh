# ./dev build and ./dev train. Sourced by ./dev, bench.sh and test.sh.
# shellcheck shell=bash

# build PRESET [TARGET...]: sets up, configures when needed, builds, and points build/bin at the result.
build() {
  local preset=$1 tiers=(--tier train)
  shift
  case $preset in
    dev | ci | asan) tiers+=(--tier test) ;;
    release) ;;
    tsan | torch-free) tiers=(--tier launcher --tier test) ;;
    comm-only) tiers=(--tier comm --tier test) ;;
    *) usage_error "unknown preset '$preset'; use dev, release, ci, asan, tsan, torch-free or comm-only" ;;
  esac
  run_setup "${tiers[@]}"
  configure "$preset"
  cmake --build "build/$preset" -j "$(jobs)" ${1:+--target "$@"}
  case $preset in
    release | ci | dev) ln -sfn "$preset/bin" build/bin ;;
  esac
}

configure() {
  local preset=$1 wanted=
  case $preset in
    tsan | torch-free | comm-only) ;;
    *) wanted=$(source cmake/dev/setup.sh && libtorch_folder) ;;
  esac
  # A build folder remembers which LibTorch it found: another one is a reason to look again.
  if [ -e "build/$preset/build.ninja" ] && grep -q "^LibTorch_INCLUDE_DIR:PATH=${wanted:-.*}" "build/$preset/CMakeCache.txt"; then return; fi
  if [ -e "build/$preset/build.ninja" ] && [ -z "$wanted" ]; then return; fi
  cmake --preset "$preset" -U 'LibTorch_*' --log-level=NOTICE
}

# default_preset PRESET: that one, but comm-only on a machine that was set up for no more.
default_preset() {
  if [ -e "$(cache_folder)/comm-only" ] && ! (source cmake/dev/setup.sh && libtorch_ready); then
    say "set up without LibTorch: comm alone" >&2
    printf 'comm-only\n'
  else
    printf '%s\n' "$1"
  fi
}

verb_build() {
  local preset
  if [ "${1:-}" = --preset ]; then
    preset=${2:?dev: build: --preset needs a name}
    shift 2
  else
    preset=$(default_preset dev)
  fi
  build "$preset" "$@"
}

# Two ranks x one thread: on two cores this beats one process with two threads.
verb_train() {
  local recipe=fmnist-cnn given=" $* " defaults=()
  case ${1:-} in
    '' | -* | *=*) ;;
    *) recipe=$1; shift ;;
  esac
  case $given in *" --nproc-per-node"* | *" --nproc_per_node"*) ;; *) defaults+=(--nproc-per-node 2) ;; esac
  case $given in *" threads="*) ;; *) defaults+=(threads=1) ;; esac
  case $given in *" epochs="* | *" --eval-only "*) ;; *) [ "$recipe" != fmnist-cnn ] || defaults+=(epochs=3) ;; esac
  build release rondo_program rondo_exec rondo_train
  case $given in *" --list "* | *" --help "*) exec build/release/bin/rondo train "$@" ;; esac
  exec build/release/bin/rondo train "$recipe" "${defaults[@]}" "$@"
}
