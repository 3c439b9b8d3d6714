#include "comm/watch/job_page.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <new>

#include "comm/watch/robust_mutex.h"

namespace rondo::comm {
namespace {

constexpr uint64_t kMagic = 0x3245474150444E52;  // "RNDPAGE2"
constexpr size_t kAbortSlots = 64;               // Member::left has a bit for each
constexpr size_t kTextBytes = 900;
// A holder of the posting lock copies a kilobyte: whoever keeps it longer is stopped.
constexpr auto kPostingLimit = std::chrono::seconds(1);
constexpr auto kEnterLimit = std::chrono::seconds(1);

/// Written once under the posting lock, before the count that publishes it; constant afterwards.
struct alignas(64) AbortSlot {
  uint64_t group;
  uint32_t generation;
  uint32_t code;
  int32_t culprit;
  int32_t reporter;
  uint32_t text_bytes;
  std::array<char, kTextBytes> text;
};
static_assert(sizeof(AbortSlot) == 960 && offsetof(AbortSlot, text) == 28);

AbortReason reason_in(const AbortSlot& slot) {
  return {.group = slot.group,
          .generation = slot.generation,
          .code = static_cast<Code>(slot.code),
          .culprit = slot.culprit,
          .reporter = slot.reporter,
          .text = std::string(slot.text.data(), std::min<size_t>(slot.text_bytes, kTextBytes))};
}

void futex_wait(const std::atomic<uint32_t>* word, uint32_t seen, Duration at_most) {
  if (at_most <= Duration::zero()) return;
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(at_most).count();
  const timespec timeout{.tv_sec = nanoseconds / 1'000'000'000, .tv_nsec = nanoseconds % 1'000'000'000};
  ::syscall(SYS_futex, word, FUTEX_WAIT, seen, &timeout, nullptr, 0);
}

/// Every thread of the process has ended; false where that cannot be told.
bool ended(int pid) {
  const auto descriptor = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (descriptor < 0) return errno == ESRCH;
  pollfd wanted{.fd = descriptor, .events = POLLIN, .revents = 0};
  const bool ready = ::poll(&wanted, 1, 0) == 1;
  ::close(descriptor);
  return ready;
}

/// Cuts at a whole UTF-8 character.
size_t kept_bytes(const std::string& text) {
  size_t kept = std::min(text.size(), kTextBytes);
  if (kept < text.size())
    while (kept > 0 && (static_cast<unsigned char>(text[kept]) & 0xC0) == 0x80) --kept;
  return kept;
}

}  // namespace

/// One rank, on cache lines of its own.
struct alignas(128) JobPage::Member {
  RobustMutex alive;  // held by its keeper from enter() to leave() or death
  std::atomic<Membership> membership;
  std::atomic<int32_t> pid;
  std::atomic<uint64_t> last_beat_ns;
  std::atomic<uint64_t> reached;             // see JobPage::set_reached()
  alignas(64) std::atomic<uint32_t> asleep;  // threads of the rank that sleep, or are about to
  std::atomic<uint32_t> bell;                // counts rings; a futex
  std::atomic<uint64_t> left;                // bit i: it reaches no memory of the group in abort slot i
};

/// Aligned as the members that follow it.
struct alignas(128) JobPage::Layout {
  std::atomic<uint64_t> magic;  // written last
  uint32_t rank_count;
  uint32_t byte_count;
  alignas(64) std::atomic<uint64_t> abort_count;
  std::atomic<uint32_t> wake_word;  // low half of abort_count, for futexes
  alignas(64) RobustMutex posting;
  std::array<AbortSlot, kAbortSlots> aborts;

  /// The members follow the layout.
  Member& member(int rank) {
    auto* behind = reinterpret_cast<std::byte*>(this) + sizeof(Layout);
    return std::launder(reinterpret_cast<Member*>(behind))[rank];
  }
  /// The slot of `group` among those published.
  const AbortSlot* find(uint64_t group) const {
    const auto end = aborts.begin() + static_cast<ptrdiff_t>(abort_count.load(std::memory_order_acquire));
    const auto found =
        std::find_if(aborts.begin(), end, [group](const AbortSlot& slot) { return slot.group == group; });
    return found == end ? nullptr : &*found;
  }
  /// Its bit in Member::left; 0 without a slot.
  uint64_t bit_of(uint64_t group) const {
    const AbortSlot* slot = find(group);
    return slot == nullptr ? 0 : uint64_t{1} << (slot - aborts.data());
  }
};

size_t JobPage::byte_count(int rank_count) {
  // Other builds may map the page: sizes and places are part of the format.
  static_assert(sizeof(Member) == 128 && offsetof(Member, membership) == 40 && offsetof(Member, last_beat_ns) == 48 &&
                offsetof(Member, reached) == 56 && offsetof(Member, asleep) == 64 && offsetof(Member, left) == 72);
  static_assert(offsetof(Layout, abort_count) == 64 && offsetof(Layout, posting) == 128 &&
                offsetof(Layout, aborts) == 192);
  static_assert(sizeof(Layout) == 61'696 && sizeof(Layout) % alignof(Member) == 0);
  static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<Membership>::is_always_lock_free);
  return sizeof(Layout) + sizeof(Member) * static_cast<size_t>(rank_count);
}

Result<std::unique_ptr<JobPage>> JobPage::format(Region region, int rank_count) {
  if (rank_count < 1 || region.bytes().size() != byte_count(rank_count))
    return Status(Code::kInvalidArgument, "a job page for " + std::to_string(rank_count) + " ranks does not fit " +
                                              std::to_string(region.bytes().size()) + " bytes");
  auto* layout = new (region.bytes().data()) Layout{};
  layout->rank_count = static_cast<uint32_t>(rank_count);
  layout->byte_count = static_cast<uint32_t>(region.bytes().size());
  bool good = layout->posting.initialise();
  for (int rank = 0; rank < rank_count; ++rank) {
    auto* member = new (region.bytes().data() + sizeof(Layout) + sizeof(Member) * static_cast<size_t>(rank)) Member{};
    good = good && member->alive.initialise();
  }
  if (!good)
    return Status(Code::kUnsupported,
                  "this system has no robust mutexes that processes can share; Rondo needs them to "
                  "see the death of a rank");
  layout->magic.store(kMagic, std::memory_order_release);
  return std::unique_ptr<JobPage>(new JobPage(std::move(region), layout));
}

Result<std::unique_ptr<JobPage>> JobPage::attach(Region region) {
  const auto corrupt = [](const std::string& what) {
    return Status(Code::kCorrupt, "the job page of this host " + what + "; do all ranks run the same build of Rondo?");
  };
  const size_t bytes = region.bytes().size();
  if (bytes < byte_count(1)) return corrupt("has only " + std::to_string(bytes) + " bytes");
  auto* layout = std::launder(reinterpret_cast<Layout*>(region.bytes().data()));
  if (layout->magic.load(std::memory_order_acquire) != kMagic) return corrupt("does not start as one");
  if (layout->rank_count < 1 || layout->rank_count > INT_MAX || layout->byte_count != bytes ||
      byte_count(static_cast<int>(layout->rank_count)) != bytes)
    return corrupt("says " + std::to_string(layout->rank_count) + " ranks and has " + std::to_string(bytes) + " bytes");
  return std::unique_ptr<JobPage>(new JobPage(std::move(region), layout));
}

JobPage::~JobPage() = default;

int JobPage::rank_count() const { return static_cast<int>(layout_->rank_count); }

uint64_t JobPage::abort_version() const { return layout_->abort_count.load(std::memory_order_acquire); }

bool JobPage::post_abort(const AbortReason& reason) {
  if (layout_->find(reason.group) != nullptr) return false;
  const auto outcome = layout_->posting.lock(after(kPostingLimit));
  if (outcome == RobustMutex::Outcome::kHeld || outcome == RobustMutex::Outcome::kBroken) return false;
  // If the last holder died here, its slot was not counted yet and is written again.
  const uint64_t count = layout_->abort_count.load(std::memory_order_relaxed);
  // The last slot is kept for the whole job: with so many groups aborted, it takes everyone.
  const uint64_t group = count + 1 < kAbortSlots ? reason.group : kWholeJob;
  const bool fresh = count < kAbortSlots && layout_->find(group) == nullptr;
  if (fresh) {
    AbortSlot& slot = layout_->aborts[count];
    slot.group = group;
    slot.generation = reason.generation;
    slot.code = static_cast<uint32_t>(reason.code);
    slot.culprit = reason.culprit;
    slot.reporter = reason.reporter;
    slot.text_bytes = static_cast<uint32_t>(kept_bytes(reason.text));
    std::copy_n(reason.text.begin(), slot.text_bytes, slot.text.begin());
    layout_->abort_count.store(count + 1, std::memory_order_release);
    layout_->wake_word.store(static_cast<uint32_t>(count + 1), std::memory_order_release);
  }
  layout_->posting.unlock();
  if (fresh) {
    ::syscall(SYS_futex, &layout_->wake_word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
    for (int rank = 0; rank < rank_count(); ++rank) ring(rank);
  }
  return fresh;
}

std::optional<AbortReason> JobPage::abort_of(uint64_t group) const {
  const AbortSlot* slot = layout_->find(group);
  if (slot == nullptr) slot = layout_->find(kWholeJob);
  if (slot == nullptr) return std::nullopt;
  return reason_in(*slot);
}

std::vector<AbortReason> JobPage::aborts_from(uint64_t index) const {
  std::vector<AbortReason> reasons;
  for (const uint64_t end = abort_version(); index < end; ++index) reasons.push_back(reason_in(layout_->aborts[index]));
  return reasons;
}

void JobPage::sleep_until_abort(uint64_t seen, Duration at_most) const {
  if (abort_version() != seen) return;
  futex_wait(&layout_->wake_word, static_cast<uint32_t>(seen), at_most);
}

void JobPage::post_left(int rank, uint64_t group) {
  layout_->member(rank).left.fetch_or(layout_->bit_of(group), std::memory_order_release);
}

bool JobPage::left(int rank, uint64_t group) const {
  const uint64_t wanted = layout_->bit_of(group) | layout_->bit_of(kWholeJob);
  return (layout_->member(rank).left.load(std::memory_order_acquire) & wanted) != 0;
}

bool JobPage::gone(int rank) const {
  const Membership seen = membership(rank);
  return seen == Membership::kLeft || (seen == Membership::kDead && ended(pid(rank)));
}

uint32_t JobPage::before_sleep(int rank) {
  Member& member = layout_->member(rank);
  const uint32_t seen = member.bell.load();
  member.asleep.fetch_add(1);
  return seen;
}

void JobPage::sleep(int rank, uint32_t seen, Duration at_most) {
  Member& member = layout_->member(rank);
  futex_wait(&member.bell, seen, at_most);
  member.asleep.fetch_sub(1);
}

void JobPage::ring(int rank) {
  Member& member = layout_->member(rank);
  if (member.asleep.load() == 0) return;
  member.bell.fetch_add(1);
  ::syscall(SYS_futex, &member.bell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

Status JobPage::enter(int rank, int pid) {
  const Where where{.rank = rank, .operation = "entering the job page"};
  if (rank < 0 || rank >= rank_count())
    return Status(Code::kInvalidArgument,
                  "rank " + std::to_string(rank) + " is not in [0, " + std::to_string(rank_count()) + ")", where);
  Member& member = layout_->member(rank);
  switch (member.alive.lock(after(kEnterLimit))) {
    case RobustMutex::Outcome::kTaken:
      break;
    case RobustMutex::Outcome::kHolderDied:
      member.membership.store(Membership::kDead, std::memory_order_release);
      break;
    case RobustMutex::Outcome::kHeld:
      return Status(Code::kInvalidArgument,
                    "rank " + std::to_string(rank) + " is taken by process " + std::to_string(this->pid(rank)) +
                        " on this host; two processes were given the same rank",
                    where);
    case RobustMutex::Outcome::kBroken:
      return Status(Code::kIo, "the system refused the robust mutex of rank " + std::to_string(rank), where);
  }
  if (membership(rank) == Membership::kDead) {
    member.alive.unlock();
    return Status(Code::kClosed,
                  "rank " + std::to_string(rank) + " died in this generation (pid " + std::to_string(this->pid(rank)) +
                      "); it can come back in the next one only",
                  where);
  }
  member.pid.store(pid, std::memory_order_relaxed);
  member.membership.store(Membership::kPresent, std::memory_order_release);
  return {};
}

void JobPage::leave(int rank) {
  Member& member = layout_->member(rank);
  member.membership.store(Membership::kLeft, std::memory_order_release);
  member.alive.unlock();
}

Membership JobPage::membership(int rank) const {
  return layout_->member(rank).membership.load(std::memory_order_acquire);
}
int JobPage::pid(int rank) const { return layout_->member(rank).pid.load(std::memory_order_relaxed); }
void JobPage::set_reached(int rank, uint64_t word) {
  layout_->member(rank).reached.store(word, std::memory_order_release);
}

uint64_t JobPage::reached(int rank) const { return layout_->member(rank).reached.load(std::memory_order_acquire); }

void JobPage::beat(int rank, uint64_t now_ns) {
  layout_->member(rank).last_beat_ns.store(now_ns, std::memory_order_relaxed);
}
uint64_t JobPage::last_beat_ns(int rank) const {
  return layout_->member(rank).last_beat_ns.load(std::memory_order_relaxed);
}

void JobPage::mirror(const Mirrored& state) {
  layout_->member(state.rank).pid.store(state.pid, std::memory_order_relaxed);
  set_reached(state.rank, state.reached);
  beat(state.rank, state.last_beat_ns);
}

Membership JobPage::watch(int rank, Duration slice) {
  Member& member = layout_->member(rank);
  if (const Membership now = membership(rank); now != Membership::kPresent) return now;
  switch (member.alive.lock(after(slice))) {
    case RobustMutex::Outcome::kHolderDied:
      // It may have died between leave()'s mark and its release: then it had left.
      if (membership(rank) == Membership::kPresent)
        member.membership.store(Membership::kDead, std::memory_order_release);
      member.alive.unlock();
      break;
    case RobustMutex::Outcome::kTaken:
      member.alive.unlock();
      break;
    case RobustMutex::Outcome::kHeld:
    case RobustMutex::Outcome::kBroken:
      break;
  }
  return membership(rank);
}

}  // namespace rondo::comm
