#!/usr/bin/env bash
# companions.sh PROGRAM LIBTORCH_LIB: libcudart and libcupti of PROGRAM come from the folder that holds LibTorch, so that a
# CUDA toolkit on this machine cannot hide that they are missing.
set -euo pipefail
program=$1
tree=$(realpath "$2/../..")
for library in libtorch_cpu libcudart libcupti; do
  path=$(env -u LD_LIBRARY_PATH -u LD_PRELOAD ldd "$program" | awk -v name="$library" 'index($1, name ".so") == 1 {print $3}')
  case $(realpath "${path:-/nowhere}") in
    "$tree"/*) echo "$library: $path" ;;
    *) echo "$library of $program resolves to '${path:-nothing}', not inside $tree"; exit 1 ;;
  esac
done
