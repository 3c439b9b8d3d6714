/// Ranks on this machine without a launcher, from inside a program:
///
///   int main(int argc, char** argv) {
///     if (const auto ended = rondo::spawn(argc, argv, {.ranks = 4})) return ended->exit_code;   // the parent
///     auto job = rondo::init(argc, argv);                                                       // a rank
///
/// The program is started again for each rank, with the same arguments and torchrun's variables; nothing is forked, so
/// threads and locks of the parent are of no consequence. Where somebody else started this process as a rank already
/// (rondo run, torchrun, mpirun or srun with several tasks), spawn() does nothing and the program is that rank.
#pragma once

#include <optional>
#include <string>

namespace rondo {

struct SpawnOptions {
  int ranks = 2;
  int threads = 0;  // OMP_NUM_THREADS of each, unless it is set; 0: processors / ranks
};

struct SpawnOutcome {
  // Of the rank that failed first: its own, or 128 + signal; 0: all ended well; kPreempted: stopped by request;
  // 128 + signal: killed by the second signal
  int exit_code = 0;
  int failed_rank = -1;  // which; -1: none
  std::string text;      // "rank 2 was killed by signal 11"; empty when all ended well
};

/// In the parent: returns when all ranks have ended. When one fails, the others have 5 s to end by their own errors and
/// are killed then; when the parent dies, the kernel kills them all. INT, TERM and USR1 to the parent do not end it
/// meanwhile: it passes them on to the ranks, where rondo::Requests hears them; the second INT or TERM kills all ranks.
/// In a rank: returns nothing, at once.
/// A signal to the whole process group reaches the ranks twice, and so as the second: send it to the parent.
/// Call it first in main, on a thread that lives as long as the call. Throws rondo::Error (usage, or what the operating
/// system lacks), with no rank left running.
std::optional<SpawnOutcome> spawn(int argc, char** argv, const SpawnOptions& options = {});

}  // namespace rondo
