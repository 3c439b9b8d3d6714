// rondo::save and rondo::CheckpointWriter: checkpoints written by a thread of their own.
#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "rondo/checkpoint_writer.h"
#include "trainer/checkpoint/snapshot.h"
#include "trainer/checkpoint/together.h"
#include "trainer/init/job_state.h"

namespace rondo {
namespace {

using Deadline = std::chrono::steady_clock::time_point;
constexpr std::chrono::hours kLongestWrite{1};  // by then a disk is stuck

std::thread start_thread(const char* name, std::function<void()> body) {
  std::thread thread(std::move(body));
  pthread_setname_np(thread.native_handle(), name);
  return thread;
}

struct Order {
  trainer::Snapshot snapshot;
  KeepRules rules;
};

}  // namespace

/// On rank 0 a thread that writes one order at a time; on other ranks only the job.
struct CheckpointWriter::State {
  // Constant after construction.
  const Job job;
  const std::string run;

  // Guarded by mutex.
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Order> order;  // given and not yet written
  std::exception_ptr error;    // of the last write, until somebody is told
  bool stop = false;

  std::thread thread;

  State(const Job& of, std::string folder) : job(of), run(std::move(folder)) {
    if (job.rank == 0) thread = start_thread("rondo-ckpt", [this] { work(); });
  }

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [&] { return order || stop; });
      if (!order) return;
      lock.unlock();
      std::exception_ptr failure;
      try {
        trainer::write_snapshot(run, order->snapshot, order->rules);  // nobody else touches a given order
      } catch (const std::exception&) {
        failure = std::current_exception();
      }
      lock.lock();
      order.reset();
      error = failure;
      changed.notify_all();
    }
  }

  /// Of rank 0. Waits for the write under way until `deadline`; true when none is left.
  bool idle_by(Deadline deadline) {
    std::unique_lock lock(mutex);
    return changed.wait_until(lock, deadline, [&] { return !order; });
  }

  std::exception_ptr take_error() {
    const std::lock_guard lock(mutex);
    return std::exchange(error, nullptr);
  }

  /// Collective. Waits for the write under way and throws on every rank what went wrong. A disk may be slower than a
  /// collective may take, so ranks meet again and again meanwhile.
  void finish(const std::string& what, Deadline deadline) {
    constexpr std::chrono::seconds kSlice{1};
    while (true) {
      const Deadline now = std::chrono::steady_clock::now();
      const bool idle = job.rank != 0 || idle_by(std::min(deadline, now + kSlice));
      const bool late = job.rank == 0 && !idle && std::chrono::steady_clock::now() >= deadline;
      const int64_t state = job.sum(int64_t{late ? 2 : !idle ? 1 : 0});  // rank 0's alone
      if (state == 0) break;
      if (state == 1) continue;
      throw Error("a checkpoint is still being written to " + run + "/checkpoints: a slow or stuck disk at rank 0?",
                  Error::Details{.exit_code = ExitCode::kHang, .culprit_rank = 0});
    }
    trainer::fail_together(job, what, take_error());
  }
};

CheckpointWriter::CheckpointWriter(const Job& job, std::string run)
    : state_(std::make_unique<State>(job, std::move(run))) {}

CheckpointWriter::~CheckpointWriter() {
  if (!state_->thread.joinable()) return;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
    state_->changed.notify_all();
  }
  state_->thread.join();
  if (!state_->error) return;
  try {
    std::rethrow_exception(state_->error);
  } catch (const std::exception& error) {
    state_->job.state()->say(std::string("the last checkpoint was not written: ") + error.what());
  }
}

void CheckpointWriter::save(const TrainingState& state, const SaveOptions& options) {
  state_->finish("write the checkpoint before", std::chrono::steady_clock::now() + kLongestWrite);
  trainer::Snapshot snapshot = trainer::take_snapshot(state_->job, state, options);
  if (state_->job.rank != 0) return;
  const std::lock_guard lock(state_->mutex);
  state_->order = Order{.snapshot = std::move(snapshot), .rules = options.keep};
  state_->changed.notify_all();
}

void CheckpointWriter::close(std::chrono::milliseconds timeout) {
  state_->finish("write a checkpoint", std::chrono::steady_clock::now() + timeout);
}

void save(const Job& job, const std::string& run, const TrainingState& state, const SaveOptions& options) {
  CheckpointWriter writer(job, run);
  writer.save(state, options);
  writer.close(kLongestWrite);
}

}  // namespace rondo
