#!/bin/sh
# Several hosts with `rondo run`: this script once on each of them, in any order.
#
#   a$ rondo secret new ~/rondo.secret && scp -p ~/rondo.secret b:
#   a$ FIRST_HOST=a ./two_hosts.sh 0 ./mine --lr 0.1
#   b$ FIRST_HOST=a ./two_hosts.sh 1 ./mine --lr 0.1
set -eu
if [ $# -lt 2 ]; then
  echo "usage: FIRST_HOST=NAME $0 NUMBER-OF-THIS-HOST PROGRAM ARGS..." >&2
  exit 2
fi
number=$1
shift
export RONDO_SECRET_FILE="${RONDO_SECRET_FILE:-$HOME/rondo.secret}"
exec rondo run --nnodes "${HOSTS:-2}" --node-rank "$number" --nproc-per-node "${RANKS_PER_HOST:-2}" \
  --rdzv-endpoint "${FIRST_HOST:?the name or address of host 0}:${PORT:-29400}" -- "$@"
