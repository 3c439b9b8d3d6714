#include "comm/transport/region_post.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "comm/base/crc32c.h"
#include "comm/base/descriptor_passing.h"
#include "comm/base/little_endian.h"
#include "comm/transport/inproc.h"
#include "rondo/comm/env.h"
#include "rondo/comm/thread_annotations.h"

namespace rondo::comm {
namespace {

// One note a region: magic, sender, receiver, generation, group, id, bytes, job, zeros, CRC32C.
constexpr size_t kNoteBytes = 80;
constexpr size_t kJobAt = 40;
constexpr size_t kCrcAt = kNoteBytes - 4;
constexpr uint32_t kMagic = 0x4e474552;  // "REGN"
constexpr int kBacklog = 4096;
using Note = std::array<std::byte, kNoteBytes>;

struct Letter {
  RegionLabel label;
  int to = -1;
  uint32_t generation = 0;
  uint64_t byte_count = 0;
  JobId job;
};

Note encode(const Letter& letter) {
  Note note{};
  put_le(note.data(), kMagic);
  put_le(note.data() + 4, static_cast<uint32_t>(letter.label.from));
  put_le(note.data() + 8, static_cast<uint32_t>(letter.to));
  put_le(note.data() + 12, letter.generation);
  put_le(note.data() + 16, letter.label.group);
  put_le(note.data() + 24, letter.label.id);
  put_le(note.data() + 32, letter.byte_count);
  std::copy(letter.job.bytes.begin(), letter.job.bytes.end(), note.begin() + kJobAt);
  put_le(note.data() + kCrcAt, crc32c(std::span(note).first(kCrcAt)));
  return note;
}

std::optional<Letter> decode(const Note& note) {
  if (get_le<uint32_t>(note.data()) != kMagic) return std::nullopt;
  if (get_le<uint32_t>(note.data() + kCrcAt) != crc32c(std::span(note).first(kCrcAt))) return std::nullopt;
  Letter letter;
  letter.label.from = static_cast<int>(get_le<uint32_t>(note.data() + 4));
  letter.to = static_cast<int>(get_le<uint32_t>(note.data() + 8));
  letter.generation = get_le<uint32_t>(note.data() + 12);
  letter.label.group = get_le<uint64_t>(note.data() + 16);
  letter.label.id = get_le<uint64_t>(note.data() + 24);
  letter.byte_count = get_le<uint64_t>(note.data() + 32);
  std::copy_n(note.begin() + kJobAt, letter.job.bytes.size(), letter.job.bytes.begin());
  return letter;
}

/// Closes a descriptor on every way out.
class Socket {
 public:
  explicit Socket(int number) : number_(number) {}
  Socket(Socket&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Socket() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const { return number_; }

 private:
  int number_;
};

Status failed(const std::string& what, int error) {
  const bool short_of = error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
  return {short_of ? Code::kResource : Code::kIo, what + ": " + std::generic_category().message(error)};
}

class SocketPost final : public RegionPost {
 public:
  SocketPost(Socket listener, std::string name, const RegionPostOptions& options)
      : options_(options), name_(std::move(name)), listener_(std::move(listener)) {}

  std::string mailbox() const override { return name_; }

  Status post(const std::string& mailbox, int to, const RegionLabel& label, const Region& region) override {
    const Socket socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const std::string whom = "the mailbox of rank " + std::to_string(to);
    if (socket.get() < 0) return failed("socket for " + whom, errno).at({.peer = to});
    const auto at = abstract_address(mailbox);
    if (::connect(socket.get(), at.get(), at.length) != 0) {
      if (would_block(errno)) return Status::pending();
      if (errno == ECONNREFUSED) {
        return {Code::kPeerLost,
                whom + " is gone: its process ended, or runs in another network namespace and is not on this host",
                {.peer = to}};
      }
      return failed("connecting to " + whom, errno).at({.peer = to});
    }
    if (!same_user(socket.get())) {
      return {Code::kUnauthenticated, whom + " belongs to another user of this host", {.peer = to}};
    }
    const Letter letter{.label = label,
                        .to = to,
                        .generation = options_.generation,
                        .byte_count = region.bytes().size(),
                        .job = options_.job};
    if (send_descriptor(socket.get(), encode(letter), region.descriptor())) return {};
    return would_block(errno) ? Status::pending() : failed("posting to " + whom, errno).at({.peer = to});
  }

  Result<std::optional<Region>> take(const RegionLabel& label) override {
    const MutexLock lock(mutex_);
    if (!arrived_.contains(label)) empty_mailbox();
    const auto found = arrived_.find(label);
    if (found == arrived_.end()) return std::optional<Region>();
    Arrived arrived = std::move(found->second);
    arrived_.erase(found);
    auto region = Region::adopt(std::exchange(arrived.descriptor, -1), arrived.byte_count);
    if (!region.ok()) return region.status().at({.peer = label.from});
    return std::optional(std::move(*region));
  }

  void forget(uint64_t group) override {
    const MutexLock lock(mutex_);
    std::erase_if(arrived_, [group](const auto& each) { return each.first.group == group; });
  }

 private:
  struct Arrived {
    Arrived(int number, uint64_t bytes) : descriptor(number), byte_count(bytes) {}
    Arrived(Arrived&& other) noexcept : descriptor(std::exchange(other.descriptor, -1)), byte_count(other.byte_count) {}
    Arrived& operator=(Arrived&& other) noexcept {
      std::swap(descriptor, other.descriptor);
      byte_count = other.byte_count;
      return *this;
    }
    ~Arrived() {
      if (descriptor >= 0) ::close(descriptor);
    }
    int descriptor;
    uint64_t byte_count;
  };

  void empty_mailbox() RONDO_REQUIRES(mutex_) {
    for (;;) {
      Socket caller(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (caller.get() < 0) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        break;
      }
      if (same_user(caller.get())) callers_.push_back(std::move(caller));
    }
    for (auto at = callers_.begin(); at != callers_.end();) {
      at = hear(at->get()) ? callers_.erase(at) : std::next(at);
    }
  }

  /// True when the caller has said all that it will ever say.
  bool hear(int caller) RONDO_REQUIRES(mutex_) {
    Note note{};
    const ReceivedDescriptor got = receive_descriptor(caller, note);
    if (got.bytes < 0) return !would_block(got.error);
    Arrived arrived(got.descriptor, 0);  // closes it on every way out
    const auto letter = got.bytes == static_cast<ptrdiff_t>(kNoteBytes) ? decode(note) : std::nullopt;
    if (!letter || arrived.descriptor < 0 || letter->job != options_.job || letter->to != options_.rank ||
        letter->generation != options_.generation) {
      return true;
    }
    arrived.byte_count = letter->byte_count;
    arrived_.insert_or_assign(letter->label, std::move(arrived));
    return true;
  }

  // Constant after construction.
  const RegionPostOptions options_;
  const std::string name_;
  const Socket listener_;

  Mutex mutex_;
  std::vector<Socket> callers_ RONDO_GUARDED_BY(mutex_);  // connected, not heard yet
  std::map<RegionLabel, Arrived> arrived_ RONDO_GUARDED_BY(mutex_);
};

class FabricPost final : public RegionPost {
 public:
  FabricPost(std::shared_ptr<InprocFabric> fabric, int rank) : fabric_(std::move(fabric)), rank_(rank) {}
  std::string mailbox() const override { return "inproc"; }
  Status post(const std::string&, int to, const RegionLabel& label, const Region& region) override {
    fabric_->hand_over(label, to, region.share());
    return {};
  }
  Result<std::optional<Region>> take(const RegionLabel& label) override { return fabric_->take_over(label, rank_); }
  void forget(uint64_t group) override { fabric_->drop_handed_over(group, rank_); }

 private:
  const std::shared_ptr<InprocFabric> fabric_;  // shared with all fake ranks
  const int rank_;
};

}  // namespace

Result<std::shared_ptr<RegionPost>> open_region_post(const RegionPostOptions& options) {
  const Where where{.rank = options.rank, .operation = "opening the mailbox"};
  Socket listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (listener.get() < 0) return failed("socket", errno).at(where);
  const std::string name = "rondo-mail-" + JobId::draw(*real_env()).hex();
  const auto at = abstract_address(name);
  if (::bind(listener.get(), at.get(), at.length) != 0) return failed("bind to @" + name, errno).at(where);
  if (::listen(listener.get(), kBacklog) != 0) return failed("listen on @" + name, errno).at(where);
  return std::shared_ptr<RegionPost>(std::make_shared<SocketPost>(std::move(listener), name, options));
}

std::shared_ptr<RegionPost> region_post_of(std::shared_ptr<InprocFabric> fabric, int rank) {
  return std::make_shared<FabricPost>(std::move(fabric), rank);
}

}  // namespace rondo::comm
