/// One rank's membership in a job, and collectives on tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <string>

#include "rondo/error.h"
#include "rondo/log.h"

namespace rondo {

namespace trainer {
class JobState;  // private to Rondo
}
template <typename Loader>
class Lockstep;  // lockstep.h

/// While it lives, the other ranks wait where they asked for theirs; then all of them go on at once.
class [[nodiscard]] RankZeroFirst {
 public:
  RankZeroFirst(std::shared_ptr<trainer::JobState> job, std::chrono::milliseconds timeout);
  ~RankZeroFirst();
  RankZeroFirst(const RankZeroFirst&) = delete;
  RankZeroFirst& operator=(const RankZeroFirst&) = delete;

 private:
  std::shared_ptr<trainer::JobState> job_;  // shared with the Job's copies
  const int exceptions_;                    // under way when the scope was opened
};

enum class Reduction : uint8_t { kSum, kMean, kMin, kMax };

/// One rank's membership in a job. Cheap to copy; the last copy leaves the job in order, or aborts it when an exception
/// is under way. The tensor collectives have a group of their own, so they never disturb a reduction in flight; they
/// refuse tensors that require grad (detach() them) and block until done.
class Job {
 public:
  int rank = 0;
  int world_size = 1;
  int local_rank = 0;
  c10::Device device{c10::kCPU};

  /// In place; same shape and dtype on every rank.
  void all_reduce(const at::Tensor& tensor, Reduction reduction = Reduction::kSum) const;
  /// In place: every rank gets the bytes of rank `root`. Any dtype.
  void broadcast(const at::Tensor& tensor, int root = 0) const;
  /// (...) of every rank -> (world_size, ...), in rank order. Any dtype.
  at::Tensor all_gather(const at::Tensor& tensor) const;
  /// The rows of every rank, one after the other in rank order: (n_r, ...) -> (sum of n_r, ...). Ranks may differ in
  /// rows, of which there may be none. Any dtype. For rows in the order of a data set: gather(job, rows, sampler).
  at::Tensor gather(const at::Tensor& rows) const;
  void barrier() const;
  /// The sum of a number over all ranks: counts of samples, losses.
  double sum(double metric) const;
  template <std::integral T>
  T sum(T metric) const {
    return static_cast<T>(sum_int64(static_cast<int64_t>(metric)));
  }

  /// `for (auto& batch : job.lockstep(*loader))` goes on until the loaders of all ranks are done: lockstep.h.
  template <typename Loader>
  Lockstep<Loader> lockstep(Loader& loader) const;
  /// The same with `empty` for a batch without samples, for types that lockstep.h cannot make one of.
  template <typename Loader, typename Batch>
  Lockstep<Loader> lockstep(Loader& loader, Batch empty) const;
  /// What the scope of the result covers is done by rank 0 first, for example to fetch a data set into a cache. Call it
  /// on every rank. If rank 0 leaves its scope by an exception, the others get an Error here that says so; if it takes
  /// longer than `timeout`, another.
  RankZeroFirst rank_zero_first(std::chrono::milliseconds timeout = std::chrono::minutes(10)) const;

  /// Ends the job on all ranks: what they wait for, now or later, throws an Error with this rank as culprit and
  /// `reason`. For a program that catches its own exceptions; those that nobody catches are told by themselves.
  void abort(const std::string& reason) const;
  /// A line on stderr, if RONDO_LOG lets it through: log.h.
  void log(LogLevel level, const std::string& line) const;

  /// "rank 1 of 2 (local rank 1 of 2), started by rondo run".
  std::string description() const;
  /// How its ranks exchange bytes: "shm", "tcp", "mpi", or "shm+tcp" or "shm+mpi" where hosts hold several.
  std::string transport() const;

  const std::shared_ptr<trainer::JobState>& state() const { return state_; }
  explicit Job(std::shared_ptr<trainer::JobState> state);

 private:
  int64_t sum_int64(int64_t metric) const;
  std::shared_ptr<trainer::JobState> state_;  // shared by all copies, wrappers and samplers of this job
};

struct InitOptions {
  std::chrono::milliseconds join_timeout{120'000};      // for all ranks to appear
  std::chrono::milliseconds operation_timeout{30'000};  // of one collective
  std::string transport;                                // "" = chosen by comm; "shm", "tcp", "mpi", "shm+mpi"
  std::string algorithm;  // "" = chosen by comm; "ring": by name; rules such as "ring:1M-"
};

/// Joins the job that flags (--rank --world-size --local-rank --local-world-size --endpoint, each only if present; all
/// other arguments are left alone) and environment describe; without any, a job of one. Returns when all ranks joined,
/// or throws naming the absent. Rank 0 logs one line: who started it.
///
/// From then on an exception that nobody catches, on any thread, is told to all ranks (which throw an Error with its
/// text, this rank and the step) and to the agent, before the program's own std::terminate handler goes on.
Job init(int argc, char** argv, const InitOptions& options = {});

}  // namespace rondo
