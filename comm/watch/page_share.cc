#include "comm/watch/page_share.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <utility>

#include "comm/base/crc32c.h"
#include "comm/base/descriptor_passing.h"
#include "comm/base/hex.h"
#include "comm/base/little_endian.h"

namespace rondo::comm {
namespace {

// What a rank says when it connects, and what comes back beside the descriptor: magic, rank, generation, page bytes,
// zeros, CRC32C.
constexpr size_t kNoteBytes = 64;
constexpr uint32_t kAskMagic = 0x41474150;   // "PAGA"
constexpr uint32_t kGiveMagic = 0x47474150;  // "PAGG"
constexpr size_t kCrcAt = kNoteBytes - 4;
using Note = std::array<std::byte, kNoteBytes>;

struct NoteContent {
  uint32_t magic = 0;
  int rank = -1;
  uint32_t generation = 0;
  uint64_t page_bytes = 0;
  bool operator==(const NoteContent&) const = default;
};

Note encode(const NoteContent& content) {
  Note note{};
  put_le(note.data(), content.magic);
  put_le(note.data() + 4, static_cast<uint32_t>(content.rank));
  put_le(note.data() + 8, content.generation);
  put_le(note.data() + 16, content.page_bytes);
  put_le(note.data() + kCrcAt, crc32c(std::span(note).first(kCrcAt)));
  return note;
}

/// Magic 0 for bytes that are no note.
NoteContent decode(const Note& note) {
  if (get_le<uint32_t>(note.data() + kCrcAt) != crc32c(std::span(note).first(kCrcAt))) return {};
  return {.magic = get_le<uint32_t>(note.data()),
          .rank = static_cast<int>(get_le<uint32_t>(note.data() + 4)),
          .generation = get_le<uint32_t>(note.data() + 8),
          .page_bytes = get_le<uint64_t>(note.data() + 16)};
}

}  // namespace

/// A connection that has not yet been given the page.
struct PageShare::Guest {
  int socket = -1;
  Note note{};
  size_t have = 0;
};

PageShare::PageShare(std::shared_ptr<Env> env, std::shared_ptr<Store> store, PageShareOptions options)
    : env_(std::move(env)), store_(std::move(store)), options_(std::move(options)) {
  auto& local = options_.local_ranks;
  if (local.empty()) {
    local.resize(static_cast<size_t>(std::max(options_.world_size, 1)));
    std::iota(local.begin(), local.end(), 0);
  }
  std::sort(local.begin(), local.end());
  if (serving())
    absent_.assign(local.begin() + 1, local.end());
  else
    absent_ = {local.front()};
}

PageShare::~PageShare() { close_sockets(); }

void PageShare::close_sockets() {
  for (const Guest& guest : guests_) ::close(guest.socket);
  guests_.clear();
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

std::string PageShare::key() const {
  return "page/" + std::to_string(options_.generation) + "/" + std::to_string(options_.local_ranks.front());
}

std::vector<int> PageShare::absent() const { return absent_; }

std::vector<WaitHandle> PageShare::wait_handles() const {
  if (step_ == Step::kPublish || step_ == Step::kLookUp) return call_->wait_handles();
  std::vector<WaitHandle> handles;
  if (socket_ >= 0) handles.push_back({.handle = socket_});
  for (const Guest& guest : guests_) handles.push_back({.handle = guest.socket});
  return handles;
}

Progress PageShare::fail(Code code, const std::string& message) {
  close_sockets();
  step_ = Step::kFailed;
  const bool about_server =
      !serving() && (code == Code::kPeerLost || code == Code::kUnauthenticated || code == Code::kCorrupt);
  status_ = Status(code, message,
                   {.rank = options_.rank,
                    .peer = about_server ? options_.local_ranks.front() : -1,
                    .operation = "sharing the job page"});
  return Progress::kFailed;
}

Progress PageShare::advance(TimePoint now) {
  const Progress progress = step(now);
  if (progress == Progress::kDone) close_sockets();
  return progress;
}

Progress PageShare::step(TimePoint now) {
  switch (step_) {
    case Step::kStart:
      return start();
    case Step::kPublish:
    case Step::kLookUp: {
      const Progress progress = call_->advance(now);
      if (progress == Progress::kFailed) {
        status_ = call_->status().at({.rank = options_.rank, .phase = "sharing the job page"});
        step_ = Step::kFailed;
        close_sockets();
      }
      if (progress != Progress::kDone) return progress;
      if (step_ == Step::kLookUp) socket_name_ = call_->values().front();
      step_ = step_ == Step::kPublish ? Step::kServe : Step::kConnect;
      call_.reset();
      return Progress::kProgressed;
    }
    case Step::kServe:
      return serve();
    case Step::kConnect:
      return connect();
    case Step::kAsk:
      return ask();
    case Step::kReceive:
      return receive();
    case Step::kDone:
      return Progress::kDone;
    case Step::kFailed:
      return Progress::kFailed;
  }
  return Progress::kFailed;
}

Progress PageShare::start() {
  const auto& local = options_.local_ranks;
  if (options_.world_size < 1 || local.front() < 0 || local.back() >= options_.world_size ||
      !std::binary_search(local.begin(), local.end(), options_.rank))
    return fail(Code::kInvalidArgument, "rank " + std::to_string(options_.rank) + " of " +
                                            std::to_string(options_.world_size) + " is not among its host's ranks");
  if (!serving()) {
    call_ = store_->start({.kind = StoreRequest::Kind::kGet, .keys = {key()}});
    step_ = Step::kLookUp;
    return Progress::kProgressed;
  }
  auto region = Region::allocate(JobPage::byte_count(options_.world_size), "the job page");
  if (!region.ok()) return fail(region.status().code(), region.status().message());
  auto page = JobPage::format(*std::move(region), options_.world_size);
  if (!page.ok()) return fail(page.status().code(), page.status().message());
  page_ = *std::move(page);
  if (absent_.empty()) {
    step_ = Step::kDone;
    return Progress::kDone;
  }
  std::array<std::byte, 16> random{};
  env_->random(random);
  socket_name_ = "rondo-page-" + to_hex(random);
  const auto at = abstract_address(socket_name_);
  socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket_ < 0 || ::bind(socket_, at.get(), at.length) != 0 || ::listen(socket_, SOMAXCONN) != 0)
    return fail(errno == EMFILE ? Code::kResource : Code::kIo,
                std::string("cannot open the Unix socket that hands the job page out: ") + std::strerror(errno));
  call_ = store_->start({.kind = StoreRequest::Kind::kSet, .keys = {key()}, .value = socket_name_});
  step_ = Step::kPublish;
  return Progress::kProgressed;
}

Progress PageShare::serve() {
  bool moved = false;
  while (guests_.size() < options_.local_ranks.size()) {
    const int socket = ::accept4(socket_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket < 0) break;  // none waits, or a limit was hit: the next round looks again
    moved = true;
    if (same_user(socket))
      guests_.push_back({.socket = socket});
    else
      ::close(socket);
  }
  std::erase_if(guests_, [&](Guest& guest) {
    if (!welcome(guest)) return false;
    ::close(guest.socket);
    return moved = true;
  });
  if (absent_.empty()) {
    step_ = Step::kDone;
    return Progress::kDone;
  }
  return moved ? Progress::kProgressed : Progress::kBlocked;
}

/// True when the guest is finished with: served, gone, or no rank of this job.
bool PageShare::welcome(Guest& guest) {
  const ssize_t got =
      ::recv(guest.socket, guest.note.data() + guest.have, guest.note.size() - guest.have, MSG_DONTWAIT);
  if (got < 0) return !would_block(errno);
  if (got == 0) return true;
  guest.have += static_cast<size_t>(got);
  if (guest.have < guest.note.size()) return false;
  const NoteContent asked = decode(guest.note);
  const auto& local = options_.local_ranks;
  const uint64_t bytes = page_->region().bytes().size();
  if (asked != NoteContent{kAskMagic, asked.rank, options_.generation, bytes} ||
      !std::binary_search(local.begin(), local.end(), asked.rank))
    return true;
  const NoteContent given{kGiveMagic, asked.rank, options_.generation, bytes};
  if (send_descriptor(guest.socket, encode(given), page_->region().descriptor())) std::erase(absent_, asked.rank);
  return true;
}

Progress PageShare::connect() {
  const auto at = abstract_address(socket_name_);
  if (socket_ < 0) socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket_ < 0)
    return fail(errno == EMFILE ? Code::kResource : Code::kIo,
                std::string("cannot open a Unix socket for the job page: ") + std::strerror(errno));
  if (::connect(socket_, at.get(), at.length) != 0) {
    if (would_block(errno)) return Progress::kBlocked;  // its queue is full: again later
    return fail(Code::kPeerLost, "cannot reach rank " + std::to_string(options_.local_ranks.front()) +
                                     " for the job page (" + std::strerror(errno) +
                                     "); it has died, or runs on another host or in another network namespace");
  }
  if (!same_user(socket_))
    return fail(Code::kUnauthenticated, "the socket named by rank " + std::to_string(options_.local_ranks.front()) +
                                            " for the job page belongs to another user");
  step_ = Step::kAsk;
  return Progress::kProgressed;
}

Progress PageShare::ask() {
  const auto bytes = static_cast<uint64_t>(JobPage::byte_count(options_.world_size));
  const Note note = encode(NoteContent{kAskMagic, options_.rank, options_.generation, bytes});
  const ssize_t sent = ::send(socket_, note.data(), note.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && would_block(errno)) return Progress::kBlocked;
  if (sent != static_cast<ssize_t>(note.size()))
    return fail(Code::kPeerLost,
                "rank " + std::to_string(options_.local_ranks.front()) + " went away before it passed the job page");
  step_ = Step::kReceive;
  return Progress::kProgressed;
}

Progress PageShare::receive() {
  Note note{};
  const ReceivedDescriptor got = receive_descriptor(socket_, note);
  if (got.bytes < 0 && would_block(got.error)) return Progress::kBlocked;
  const size_t bytes = JobPage::byte_count(options_.world_size);
  const NoteContent expected{kGiveMagic, options_.rank, options_.generation, bytes};
  if (got.bytes != static_cast<ssize_t>(note.size()) || got.descriptor < 0 || decode(note) != expected) {
    if (got.descriptor >= 0) ::close(got.descriptor);
    return fail(got.bytes > 0 ? Code::kCorrupt : Code::kPeerLost,
                "rank " + std::to_string(options_.local_ranks.front()) +
                    " did not pass the job page; it ended, or was started with another world size or generation");
  }
  auto region = Region::adopt(got.descriptor, bytes);
  if (!region.ok()) return fail(region.status().code(), region.status().message());
  auto page = JobPage::attach(*std::move(region));
  if (!page.ok()) return fail(page.status().code(), page.status().message());
  page_ = *std::move(page);
  absent_.clear();
  step_ = Step::kDone;
  return Progress::kDone;
}

}  // namespace rondo::comm
