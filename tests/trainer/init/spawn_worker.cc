// `spawn_worker [END]`: three ranks by rondo::spawn(). Rank 1 ends well, by exit code 37 (exit), by SIGSEGV (crash), or
// all ranks say who they are and stay (stay); hear requests until one stops them, and rank 0 needs longer for its end
// than a failure would leave it (requests); or hear the first and stay (deaf).
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "rondo/job.h"
#include "rondo/requests.h"
#include "rondo/spawn.h"

int main(int argc, char** argv) {
  const std::string end = argc > 1 ? argv[1] : "well";
  if (const auto ended = rondo::spawn(argc, argv, {.ranks = 3})) {
    std::printf("parent: %d, rank %d, %s\n", ended->exit_code, ended->failed_rank, ended->text.c_str());
    return ended->exit_code;
  }
  try {
    const auto job = rondo::init(argc, argv);
    std::printf("rank %d of %d says %s, sum %d\n", job.rank, job.world_size, end.c_str(), job.sum(job.rank + 1));
    std::fflush(stdout);
    if (end == "stay") {
      std::printf("pid %d\n", static_cast<int>(getpid()));
      std::fflush(stdout);
      while (true) ::pause();
    }
    if (end == "requests" || end == "deaf") {
      rondo::Requests requests(job);
      std::printf("rank %d listens\n", job.rank);
      std::fflush(stdout);
      while (true) {
        const auto asked = requests.agree();
        if (asked.checkpoint) std::printf("rank %d saves\n", job.rank);
        std::fflush(stdout);
        if (asked.stop) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
      while (end == "deaf") ::pause();
      if (job.rank == 0) std::this_thread::sleep_for(std::chrono::seconds(6));
      std::printf("rank %d ends\n", job.rank);
      return static_cast<int>(rondo::kPreempted);
    }
    if (job.rank == 1 && end == "exit") std::_Exit(37);
    if (job.rank == 1 && end == "crash") {
      std::signal(SIGSEGV, SIG_DFL);  // a sanitizer would end the process its own way
      std::raise(SIGSEGV);
    }
    job.barrier();
  } catch (const rondo::Error& error) {
    return static_cast<int>(error.exit_code());
  }
}
