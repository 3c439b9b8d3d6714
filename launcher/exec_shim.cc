/// rondo-exec PARENT CPUS PATH ARGV0 ARGS...: what the launcher spawns for each rank. It arranges what must hold before
/// the program runs and posix_spawn cannot do, then becomes the program.
///
///   - death signal: when the launcher's main thread is gone, the kernel kills this process. It survives exec.
///   - the launcher (process PARENT) may have died before that line: then nothing is left to wait for.
///   - affinity: CPUS is a list such as "0,1,5"; "-" leaves the mask as it is.
///
/// Uses libc only, so that it starts in a fraction of a millisecond. Exit codes as of a shell: 127 the program is not
/// there, 126 it cannot be executed.
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>

namespace {

constexpr int kUsage = 2, kCannotExecute = 126, kNotFound = 127;

/// Adds the cpus of `list` to `set`; false when it is no list of numbers below CPU_SETSIZE.
bool parse_cpus(const char* list, cpu_set_t* set) {
  CPU_ZERO(set);
  for (const char* at = list;;) {
    char* end = nullptr;
    const unsigned long cpu = strtoul(at, &end, 10);
    if (end == at || cpu >= CPU_SETSIZE) return false;
    CPU_SET(cpu, set);
    if (*end == '\0') return true;
    if (*end != ',') return false;
    at = end + 1;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    fputs("rondo-exec: started by `rondo run`, not by hand\n", stderr);
    return kUsage;
  }
  const pid_t parent = static_cast<pid_t>(strtol(argv[1], nullptr, 10));
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) return kCannotExecute;

  if (strcmp(argv[2], "-") != 0) {
    cpu_set_t cpus;
    if (!parse_cpus(argv[2], &cpus)) return kUsage;
    // A cpu set that shrank since the launcher read it is no reason to fail: the old mask stays.
    if (sched_setaffinity(0, sizeof cpus, &cpus) != 0)
      fprintf(stderr, "rondo-exec: cpus %s: %s\n", argv[2], strerror(errno));
  }

  execv(argv[3], argv + 4);
  const int error = errno;
  fprintf(stderr, "rondo-exec: cannot execute %s: %s%s\n", argv[3], strerror(error),
          error == ENOEXEC ? " (a script needs a first line such as #!/bin/sh)" : "");
  return error == ENOENT ? kNotFound : kCannotExecute;
}
