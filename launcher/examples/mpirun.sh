#!/bin/sh
# Several hosts with Open MPI's mpirun, which starts the ranks by ssh: this script on one of them.
#
#   a$ rondo secret new ~/rondo.secret && scp -p ~/rondo.secret b:
#   a$ HOSTS=a:2,b:2 ./mpirun.sh ./mine --lr 0.1
#
# HOSTS: each host with its number of ranks; the first has rank 0, and MASTER_ADDR is a name of it that all can reach.
set -eu
if [ $# -lt 1 ]; then
  echo "usage: HOSTS=a:2,b:2 $0 PROGRAM ARGS..." >&2
  exit 2
fi
hosts=${HOSTS:?each host with its number of ranks, such as a:2,b:2}
first=${hosts%%,*}
ranks=0
for host in $(echo "$hosts" | tr , ' '); do ranks=$((ranks + ${host##*:})); done
export RONDO_SECRET_FILE="${RONDO_SECRET_FILE:-$HOME/rondo.secret}"
export MASTER_ADDR="${MASTER_ADDR:-${first%%:*}}" MASTER_PORT="${MASTER_PORT:-29500}"
exec mpirun -np "$ranks" --host "$hosts" --bind-to none -x RONDO_SECRET_FILE -x MASTER_ADDR -x MASTER_PORT "$@"
