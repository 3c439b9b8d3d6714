/// One page of memory that all ranks of a job on this host share: who lives, who left, and why a group was aborted.
///
/// Layout is fixed (several processes map it); fields are atomics or robust mutexes. Fake ranks of one process share a
/// page on the heap. Threading: any thread, any process.
/// Why a robust mutex per rank: the kernel releases it at death before it tears the address space down, so a death is
/// seen within milliseconds at any memory size, while end-of-file and pidfd wait for the teardown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rondo/comm/deadline.h"
#include "rondo/comm/memory.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

/// Group id of aborts that concern the whole job.
inline constexpr uint64_t kWholeJob = 0;

/// Why waits end. `culprit` is the rank (of the job) that caused it, -1 if unknown.
struct AbortReason {
  uint64_t group = kWholeJob;
  uint32_t generation = 0;
  Code code = Code::kAborted;
  int culprit = -1;
  int reporter = -1;
  std::string text;  // at most 900 bytes are kept
};

enum class Membership : uint32_t { kAbsent, kPresent, kLeft, kDead };

class JobPage {
 public:
  /// Bytes for `rank_count` ranks.
  static size_t byte_count(int rank_count);
  /// Formats fresh zeroed memory. Exactly one rank does it, before anyone attaches.
  static Result<std::unique_ptr<JobPage>> format(Region region, int rank_count);
  /// Attaches to memory that another rank formatted; kCorrupt when magic, version or size are wrong.
  static Result<std::unique_ptr<JobPage>> attach(Region region);
  ~JobPage();

  int rank_count() const;
  const Region& region() const { return region_; }

  // --- aborts. A version that only rises tells waiters cheaply whether anything happened.

  /// Counts aborts; one atomic load. 0 = none ever.
  uint64_t abort_version() const;
  /// Records `reason` unless its group has one already; wakes sleepers. False when the group had one.
  bool post_abort(const AbortReason& reason);
  /// The reason of `group`, else of the whole job.
  std::optional<AbortReason> abort_of(uint64_t group) const;
  /// The reasons from the `index`th on, in the order in which they were posted.
  std::vector<AbortReason> aborts_from(uint64_t index) const;
  /// Sleeps until the version is no longer `seen`, at most `at_most`; may return early.
  void sleep_until_abort(uint64_t seen, Duration at_most) const;

  // --- members. Each is held by its own keeper thread.

  /// Takes `rank`'s robust mutex for the calling thread and marks it present with its process id. kClosed when the rank
  /// is marked dead, kInvalidArgument when another thread holds it.
  Status enter(int rank, int pid);
  /// Marks it left, in order, and releases the mutex. Same thread as enter().
  void leave(int rank);
  Membership membership(int rank) const;
  int pid(int rank) const;
  /// The last collective that `rank` has called, as one word: the group's low 32 bits, then the sequence's.
  void set_reached(int rank, uint64_t word);
  uint64_t reached(int rank) const;
  void beat(int rank, uint64_t now_ns);
  uint64_t last_beat_ns(int rank) const;
  /// Of a rank on another host, who is no member here: what its relay says of it.
  struct Mirrored {
    int rank = 0;
    int pid = 0;
    uint64_t reached = 0;
    uint64_t last_beat_ns = 0;  // of this host's clock
  };
  void mirror(const Mirrored& state);

  // --- leaving: who can no longer reach memory that was registered with an aborted group; see comm/group/quarantine.h.

  /// Says that `rank` touches no memory of `group` any more; kWholeJob: of no group. Means something only where an
  /// abort of it was recorded before.
  void post_left(int rank, uint64_t group);
  /// `rank` has said so of `group`, or of the whole job.
  bool left(int rank, uint64_t group) const;
  /// `rank` left the page in order, or it is dead and the kernel has ended the last thread of its process. A mutex is
  /// released at the death of one thread, while another may be in the middle of a store.
  bool gone(int rank) const;

  // --- bells: how a rank that waits for shared memory sleeps, and how the writer of that memory wakes it.
  //
  // Note [No lost bell]: the sleeper says that it sleeps, looks at the memory once more and only then sleeps; the
  // writer writes, then looks whether anyone sleeps. All four are sequentially consistent, so one of the two sees the
  // other.

  /// `rank` is about to sleep; returns what sleep() takes, which must follow. The caller looks once more at what it
  /// waits for.
  uint32_t before_sleep(int rank);
  /// Sleeps until rung since before_sleep() returned `seen`, or an abort was posted, at most `at_most`; may return
  /// early.
  void sleep(int rank, uint32_t seen, Duration at_most);
  /// Wakes `rank` if it sleeps: one load when it does not. What it waits for must have been stored sequentially
  /// consistent.
  void ring(int rank);

  /// Waits for `rank`'s mutex until `slice` passed. kPresent: still alive (the slice passed). At once: kDead, its
  /// holder died; kLeft, it left; kAbsent, it never entered. A death is marked for everyone by whoever sees it first.
  Membership watch(int rank, Duration slice);

 private:
  struct Layout;
  struct Member;
  JobPage(Region region, Layout* layout) : region_(std::move(region)), layout_(layout) {}
  Region region_;
  Layout* layout_;
};

}  // namespace rondo::comm
