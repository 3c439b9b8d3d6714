# ./dev bench: figures come from the release build, of which only what is measured is built. Sourced by ./dev.
# shellcheck shell=bash
source cmake/dev/build.sh

# verb_bench OPERATION [FLAGS]: `rondo bench`. verb_bench SUITE [FLAGS]: the Google Benchmark suite tests/bench/SUITE.
# verb_bench train|start [FLAGS]: `rondo bench train` or `rondo bench start`, with the trainer.
verb_bench() {
  local given=" $* " targets=(rondo_program rondo_exec rondo_comm_bench) settings=() suite=
  case ${1:-} in train | start) bench_train "$@" ;; esac
  if [ -n "${1:-}" ] && [ "$1" != peers ] && [ -e "tests/bench/$1/CMakeLists.txt" ]; then
    suite=$1
    targets=("rondo_${suite}_bench") settings=(-DRONDO_BUILD_SUITES=ON)
    shift
    run_setup --tier launcher --tier suites
  else
    run_setup --tier launcher
  fi
  case $given in
    *" --help "* | *" -h "*) ;;
    *" --against"*)
      targets+=(rondo_bench_rivals) settings+=(-DRONDO_BUILD_RIVALS=ON)
      run_setup --check --rivals >/dev/null || lacks "the rivals are not all installed: \`./dev setup --rivals\` adds Open MPI, MPICH and Gloo"
      ;;
  esac
  configure_bench "${settings[@]}"
  cmake --build build/release -j "$(jobs)" --target "${targets[@]}"
  if [ -n "$suite" ]; then exec "build/release/bin/rondo_${suite}_bench" "$@"; fi
  exec build/release/bin/rondo bench "$@"
}

bench_train() {
  local given=" $* " settings=()
  case $given in
    *" --help "* | *" -h "*) ;;
    *" --against"*)
      settings+=(-DRONDO_BUILD_RIVALS=ON)
      [ "$1" = start ] || [ -n "${RONDO_PYTHON:-}" ] || run_setup --check --pytorch >/dev/null || lacks "Python's torch is not installed: \`./dev setup --pytorch\` brings it"
      ;;
  esac
  run_setup --tier train
  configure release
  [ ${#settings[@]} -eq 0 ] || cmake "${settings[@]}" --log-level=NOTICE build/release >/dev/null
  cmake --build build/release -j "$(jobs)" --target rondo_program rondo_exec rondo_start_probe rondo_train_bench
  # Without it `bench start` measures Rondo alone, and says how to get the rival.
  local python=${RONDO_PYTHON:-$(cache_folder)/pytorch/bin/python}
  if [ "$1" = train ] || [ -x "$python" ]; then export RONDO_PYTHON=$python; fi
  exec build/release/bin/rondo bench "$@"
}

# The release build folder with `settings`. Without LibTorch on this machine the trainer stays out; `./dev train` puts it
# back.
configure_bench() {
  if (source cmake/dev/setup.sh && libtorch_ready); then
    configure release
  elif [ ! -e build/release/build.ninja ]; then
    cmake --preset release -DRONDO_BUILD_TRAINER=OFF --log-level=NOTICE
  fi
  [ $# -eq 0 ] || cmake "$@" --log-level=NOTICE build/release >/dev/null
}
