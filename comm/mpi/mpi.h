/// The MPI library of this process, loaded at run time: starts it, sends and takes messages of bytes, finishes it.
///
/// Nothing of MPI is linked; library.h says where the library is looked for. A program that has started MPI itself
/// keeps it, and only what was started here is finished here. Of all calls only MPI_Init_thread and MPI_Finalize block;
/// they run in a thread of their own ("rondo-mpi"), so that these waits have a deadline, too. It waits until close().
///
/// What MPI reads and writes is memory of this class alone: a receive from a process that was killed never completes,
/// and may not be waited for; its memory is then left to MPI for good, and MPI_Finalize is not called.
///
/// Lifetime: the first close() ends it; the library stays loaded. Threading: any thread; one call of MPI's at a time,
/// which also holds for a program's own if it has started MPI with MPI_THREAD_SERIALIZED.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "comm/mpi/component.h"
#include "comm/mpi/library.h"
#include "rondo/comm/deadline.h"
#include "rondo/comm/env.h"
#include "rondo/comm/position.h"
#include "rondo/comm/status.h"
#include "rondo/comm/thread_annotations.h"

namespace rondo::comm {

class Mpi {
 public:
  static constexpr size_t kMostBytes = size_t{512} * 1024;  // of one message

  /// Loads and starts it. kUnsupported: no component or no library, and where they were looked for; kMismatch: MPI
  /// places this rank elsewhere; kTimeout: not every rank came.
  static Result<std::shared_ptr<Mpi>> open(std::shared_ptr<Env> env, const MpiOptions& options, Deadline deadline);
  /// The same with a component that has found its library.
  static Result<std::shared_ptr<Mpi>> start(std::shared_ptr<Env> env, const RondoMpiComponent& component, Position at,
                                            Deadline deadline, MpiFamily of_launcher = MpiFamily::kEither);
  ~Mpi();
  Mpi(const Mpi&) = delete;
  Mpi& operator=(const Mpi&) = delete;

  /// "Open MPI 4.1.4".
  const std::string& version() const { return version_; }
  /// kUnsupported if MPI was started for calls from one thread alone.
  Status allow_any_thread();

  /// A message and the memory for it.
  struct Message {
    std::unique_ptr<std::byte[]> memory;
    size_t capacity = 0, byte_count = 0;
    RondoMpiRequest request{};
    std::span<std::byte> bytes() const { return {memory.get(), byte_count}; }
  };
  using MessagePtr = std::unique_ptr<Message>;
  MessagePtr make_message(size_t capacity = kMostBytes) RONDO_EXCLUDES(mutex_);
  /// One that is complete, or was never sent.
  void reuse(MessagePtr message) RONDO_EXCLUDES(mutex_);
  /// One that may still be under way, but is not waited for.
  void leave(MessagePtr message) RONDO_EXCLUDES(mutex_);

  /// Of the job; -1 for `rank` or `tag`: any, to take from. Messages of a pair with one tag are taken in order.
  struct Place {
    int rank = -1;
    int tag = -1;
  };
  enum class Until : uint8_t { kMet, kCopied };  // sent: the receiver has begun to take it, or MPI has it
  Status send(Message& message, Place to, Until until) RONDO_EXCLUDES(mutex_);
  /// Begins to take the next message, if there is one.
  Result<bool> take(Message& message, Place from) RONDO_EXCLUDES(mutex_);
  Result<bool> complete(Message& message) RONDO_EXCLUDES(mutex_);

  /// Tag for messages of `group`, from 2 on, the same on every rank. kResource if another group here has it.
  Result<int> reserve_tag(uint64_t group) RONDO_EXCLUDES(mutex_);
  void release_tag(int tag) RONDO_EXCLUDES(mutex_);

  /// kTogether: waits until every rank is here, so that whatever was sent is taken and MPI can be finished; the others
  /// are named at the deadline. kAlone: a job that failed; what is under way is left to MPI. `aborted` is asked
  /// throughout: a job that fails meanwhile ends like one that had failed before, with kAborted.
  enum class Ending : uint8_t { kTogether, kAlone };
  using Aborted = std::function<bool()>;
  Status close(Deadline deadline, Ending ending, const Aborted& aborted = {}) RONDO_EXCLUDES(mutex_);

  /// The program has started MPI and may call it between calls of ours: no thread of ours may call it by itself.
  bool of_program() const { return blocking_ == nullptr; }

 private:
  class BlockingCalls;
  Mpi(std::shared_ptr<Env> env, const RondoMpiComponent* component, Position at);
  Status failed(int error, const std::string& doing, int peer = -1) const;
  Status initialise(Deadline deadline);
  Status duplicate(Deadline deadline);
  Status check_place(const Position& expected, MpiFamily of_launcher);
  /// Of the wait for the others at the end.
  struct Patience {
    Deadline deadline;
    const Aborted& aborted;
    Status over(const Mpi& mpi, int peer) const;
  };
  Status meet_at_the_end(const Patience& patience);
  Status wait_for(Message& message, int peer, const Patience& patience);
  Status take_from(int peer, const Patience& patience);
  void take_what_is_left();
  bool all_complete() RONDO_EXCLUDES(mutex_);
  void forget_completed() RONDO_REQUIRES(mutex_);

  const std::shared_ptr<Env> env_;
  const RondoMpiComponent* const calls_;
  const Position at_;
  std::unique_ptr<BlockingCalls> blocking_;  // null: the program has started MPI itself
  std::string version_;                      // constant after open(), as the next two
  int highest_tag_ = 0;
  bool for_any_thread_ = false;

  Mutex mutex_;
  bool closed_ RONDO_GUARDED_BY(mutex_) = false;
  std::set<int> tags_ RONDO_GUARDED_BY(mutex_);
  std::vector<MessagePtr> spare_ RONDO_GUARDED_BY(mutex_);
  std::vector<MessagePtr> left_ RONDO_GUARDED_BY(mutex_);
};

}  // namespace rondo::comm
