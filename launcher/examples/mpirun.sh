#!/bin/sh
# Several hosts with Open MPI's mpirun, which starts the ranks by ssh: this script on one of them.
#
#   a$ HOSTS=a:2,b:2 ./mpirun.sh ./mine --lr 0.1
#
# HOSTS: each host with its number of ranks, or without for one; the first has rank 0. The ranks meet by MPI, which also
# carries the job's secret: no address, no port and no file are needed.
set -eu
if [ $# -lt 1 ]; then
  echo "usage: HOSTS=a:2,b:2 $0 PROGRAM ARGS..." >&2
  exit 2
fi
hosts=${HOSTS:?each host with its number of ranks, such as a:2,b:2}
ranks=0
for host in $(echo "$hosts" | tr , ' '); do
  case $host in
    *:*) ranks=$((ranks + ${host##*:})) ;;
    *) ranks=$((ranks + 1)) ;;
  esac
done
exec mpirun -np "$ranks" --host "$hosts" --bind-to none "$@"
