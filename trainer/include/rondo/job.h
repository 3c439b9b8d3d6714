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

namespace rondo {

namespace trainer {
class JobState;  // private to Rondo
}

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
  void barrier() const;
  /// The sum of a number over all ranks: counts of samples, losses.
  double sum(double metric) const;
  template <std::integral T>
  T sum(T metric) const {
    return static_cast<T>(sum_int64(static_cast<int64_t>(metric)));
  }

  /// "rank 1 of 2 (local rank 1 of 2), started by rondo run".
  std::string description() const;
  /// How its ranks exchange bytes: "shm" or "tcp".
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
  std::string transport;                                // "" = chosen by comm; "shm", "tcp"
  std::string algorithm;  // "" = chosen by comm; "ring": by name; rules such as "ring:1M-"
};

/// Joins the job that flags (--rank --world-size --local-rank --local-world-size --endpoint, each only if present; all
/// other arguments are left alone) and environment describe; without any, a job of one. Returns when all ranks joined,
/// or throws naming the absent. Rank 0 prints one line to stderr: who started it.
Job init(int argc, char** argv, const InitOptions& options = {});

}  // namespace rondo
