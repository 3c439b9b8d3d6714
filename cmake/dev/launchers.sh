# ./dev launchers: one program under every launcher that is here. Sourced by ./dev.
# shellcheck shell=bash
source cmake/dev/build.sh

# verb_launchers [--only NAME,...]: tests/launchers/launchers.py makes the table; what is not here is a line in it.
verb_launchers() {
  local cache
  case ${1:-} in '' | --only) ;; *) usage_error "launchers: unknown argument '$1'; use --only NAME,..." ;; esac
  build ci rondo_launched
  cache=$(cache_folder)
  exec /usr/bin/python3 tests/launchers/launchers.py --bin build/ci/bin --wheels "$cache/launchers" \
    --torchrun "$cache/pytorch/bin/torchrun" "$@"
}
