#include "comm/mpi/mpi.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "comm/base/thread.h"

namespace rondo::comm {
namespace {

constexpr std::chrono::seconds kLeftoversFor{2};
constexpr auto kNap = std::chrono::microseconds(100);
constexpr std::chrono::milliseconds kLookAtAborts{20};  // while MPI_Finalize blocks
constexpr size_t kMostSpare = 64;
constexpr int kEndTag = 1;  // 0 is the bootstrap's
constexpr size_t kEndBytes = 64;
constexpr int kFirstGroupTag = 2;

struct Loaded {
  void* library = nullptr;
  const RondoMpiComponent* component = nullptr;
};

/// What MPI may use until the end of the process: memory that it writes into, a thread in a call that does not return.
void keep_for_good(std::shared_ptr<void> thing) {
  static std::mutex mutex;
  static auto& kept = *new std::vector<std::shared_ptr<void>>;  // NOLINT: nothing destroys it
  const std::lock_guard lock(mutex);
  kept.push_back(std::move(thing));
}

void* open_first(const std::vector<std::string>& files, std::string& refused) {
  for (const std::string& file : files) {
    if (void* const found = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) return found;
    const char* const why = ::dlerror();  // NOLINT(concurrency-mt-unsafe): of this thread, in glibc
    refused += (refused.empty() ? "" : "; ") + std::string(why != nullptr ? why : file.c_str());
  }
  return nullptr;
}

// Where the launcher is no MPI's: srun, or one that speaks Horovod's variables.
constexpr const char* kWithoutMpi =
    "the ranks' launcher is no MPI's. Start them by mpirun or mpiexec, or by srun with --mpi=pmix or --mpi=pmi2 "
    "(srun --mpi=list shows which it has), or leave the transport to auto";

Result<Loaded> load(const MpiOptions& options) {
  const MpiSurroundings around = look_around();
  Loaded loaded;
  std::string refused;
  loaded.library = open_first(mpi_libraries(options, around), refused);
  if (loaded.library == nullptr)
    return Status(Code::kUnsupported,
                  "no MPI library can be loaded (" + refused + "): " +
                      (options.family == MpiFamily::kEither ? std::string(kWithoutMpi) + "; or name a libmpi.so"
                                                            : std::string("name the launcher's libmpi.so")) +
                      " in RONDO_MPI_LIBRARY");
  const bool open_mpi = ::dlsym(loaded.library, "ompi_mpi_comm_world") != nullptr;
  refused.clear();
  void* const component =
      open_first(mpi_components(open_mpi ? MpiFamily::kOpenMpi : MpiFamily::kMpich, around), refused);
  if (component == nullptr)
    return Status(Code::kUnsupported, "this build of Rondo has no component for " +
                                          std::string(open_mpi ? "Open MPI" : "MPICH") + " (" + refused +
                                          "): it is built where the headers of that MPI are (Debian: " +
                                          (open_mpi ? "libopenmpi-dev" : "libmpich-dev") + ")");
  using Entry = const RondoMpiComponent* (*)();
  const auto entry = reinterpret_cast<Entry>(::dlsym(component, RONDO_MPI_ENTRY));
  loaded.component = entry != nullptr ? entry() : nullptr;
  if (loaded.component == nullptr || loaded.component->interface_version != RONDO_MPI_INTERFACE)
    return Status(Code::kUnsupported, "Rondo's MPI component is of another build than this program: build both again");
  const char* missing = nullptr;
  if (loaded.component->bind(loaded.library, &missing) != 0)
    return Status(Code::kUnsupported, "the MPI library has no " + std::string(missing) +
                                          ": it is older than MPI 3, or " +
                                          "no MPI; name another in RONDO_MPI_LIBRARY");
  return loaded;
}

}  // namespace

/// Runs calls that nobody can interrupt, one after the other and all in one thread. One that does not return keeps its
/// thread for good: only the end of the process ends it.
class Mpi::BlockingCalls {
 public:
  static Result<std::unique_ptr<BlockingCalls>> open() {
    std::unique_ptr<BlockingCalls> made(new BlockingCalls);
    auto thread = start_thread("rondo-mpi", [shared = made->shared_] { shared->run(); });
    RONDO_TRY(thread);
    made->thread_ = *std::move(thread);
    return made;
  }
  ~BlockingCalls() {
    bool stuck = false;
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->stop = true;
      stuck = shared_->call != nullptr;
    }
    shared_->changed.notify_all();
    if (stuck) {
      keep_for_good(std::make_shared<std::thread>(std::move(thread_)));
    } else if (thread_.joinable()) {
      thread_.join();
    }
  }
  BlockingCalls(const BlockingCalls&) = delete;
  BlockingCalls& operator=(const BlockingCalls&) = delete;

  /// What `call` returned; empty: it has not by the deadline, or until the job was `aborted`, and no other will be
  /// made.
  std::optional<int> make(int (*call)(), Duration at_most, const Aborted& aborted = {}) {
    std::unique_lock lock(shared_->mutex);
    if (shared_->call != nullptr) return std::nullopt;
    shared_->call = call;
    shared_->changed.notify_all();
    // system_clock: the thread sanitizer of g++ 12 does not know the wait on the monotonic clock.
    const auto until = std::chrono::system_clock::now() + std::min<Duration>(at_most, std::chrono::hours(24));
    const auto returned = [&] { return shared_->call == nullptr; };
    while (!returned() && std::chrono::system_clock::now() < until && !(aborted && aborted()))
      shared_->changed.wait_until(lock, std::min(until, std::chrono::system_clock::now() + kLookAtAborts), returned);
    return shared_->call == nullptr ? std::optional(shared_->returned) : std::nullopt;
  }

 private:
  BlockingCalls() = default;
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    int (*call)() = nullptr;
    int returned = 0;
    bool stop = false;

    void run() {
      std::unique_lock lock(mutex);
      for (;;) {
        changed.wait(lock, [&] { return stop || call != nullptr; });
        if (stop) return;
        int (*const next)() = call;
        lock.unlock();
        const int result = next();
        lock.lock();
        returned = result;
        call = nullptr;
        changed.notify_all();
      }
    }
  };
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();  // with the thread
  std::thread thread_;
};

Mpi::Mpi(std::shared_ptr<Env> env, const RondoMpiComponent* component, Position at)
    : env_(std::move(env)), calls_(component), at_(at) {}

Mpi::~Mpi() {
  const MutexLock lock(mutex_);
  for (MessagePtr& message : left_) keep_for_good(std::move(message));
}

Result<std::shared_ptr<Mpi>> Mpi::open(std::shared_ptr<Env> env, const MpiOptions& options, Deadline deadline) {
  auto loaded = load(options);
  RONDO_TRY(loaded);
  return start(std::move(env), *loaded->component, options.at, deadline, options.family);
}

Result<std::shared_ptr<Mpi>> Mpi::start(std::shared_ptr<Env> env, const RondoMpiComponent& component, Position at,
                                        Deadline deadline, MpiFamily of_launcher) {
  std::shared_ptr<Mpi> mpi(new Mpi(std::move(env), &component, at));
  std::array<char, 256> said{};
  mpi->calls_->version(said.data(), said.size());
  mpi->version_ = short_version(said.data());
  RONDO_TRY(mpi->initialise(deadline));
  RONDO_TRY(mpi->duplicate(deadline));
  RONDO_TRY(mpi->check_place(at, of_launcher));
  return mpi;
}

Status Mpi::failed(int error, const std::string& doing, int peer) const {
  std::array<char, 512> text{};
  calls_->describe(error, text.data(), text.size());
  return {peer >= 0 ? Code::kPeerLost : Code::kIo,
          version_ + ": " + doing + " failed: " + text.data(),
          {.rank = at_.rank, .peer = peer}};
}

Status Mpi::initialise(Deadline deadline) {
  int started = 0, finished = 0;
  if (const int error = calls_->state(&started, &finished); error != 0) return failed(error, "MPI_Initialized");
  if (finished != 0)
    return {Code::kUnsupported, version_ + " was finished in this process (MPI_Finalize), and cannot be started again"};
  if (started == 0) {
    auto blocking = BlockingCalls::open();
    RONDO_TRY(blocking);
    blocking_ = *std::move(blocking);
    const auto returned = blocking_->make(calls_->start, deadline.left(env_->now()));
    if (!returned)
      return {Code::kTimeout, version_ + " did not start (MPI_Init): not all of the " + std::to_string(at_.world_size) +
                                  " ranks have come to it. MPI does not say which; likely one was stopped, or is still "
                                  "busy before it joins the job"};
    if (*returned != 0) return failed(*returned, "MPI_Init_thread");
  }
  int any = 0, here = 0;
  if (const int error = calls_->threads(&any, &here); error != 0) return failed(error, "MPI_Query_thread");
  for_any_thread_ = any != 0;
  return any != 0 || here != 0 ? Status() : allow_any_thread();
}

Status Mpi::allow_any_thread() {
  if (for_any_thread_) return {};
  return {Code::kUnsupported,
          version_ +
              " was started for calls from one thread alone, and Rondo's come from several: start it by "
              "MPI_Init_thread(..., MPI_THREAD_SERIALIZED, ...), or leave it to Rondo"};
}

Status Mpi::duplicate(Deadline deadline) {
  RondoMpiRequest request{};
  if (const int error = calls_->duplicate(&request); error != 0) return failed(error, "MPI_Comm_idup");
  for (;;) {
    int done = 0;
    if (const int error = calls_->test(&request, &done); error != 0) return failed(error, "MPI_Comm_idup");
    if (done != 0) return {};
    const TimePoint now = env_->now();
    if (deadline.passed(now))
      return {Code::kTimeout, version_ + " made no communicator (MPI_Comm_idup): not all of the " +
                                  std::to_string(at_.world_size) +
                                  " ranks have come to it. MPI does not say which; likely one was stopped, or is still "
                                  "busy before it joins the job"};
    env_->idle({}, kNap);
  }
}

Status Mpi::check_place(const Position& expected, MpiFamily of_launcher) {
  Position said;
  if (const int error = calls_->place(&said.rank, &said.world_size, &highest_tag_); error != 0)
    return failed(error, "MPI_Comm_rank");
  if (said == expected) return {};
  if (said.world_size == 1 && of_launcher == MpiFamily::kEither)
    return {Code::kMismatch, version_ + " says that this process is alone, its launcher's variables rank " +
                                 std::to_string(expected.rank) + " of " + std::to_string(expected.world_size) + ": " +
                                 kWithoutMpi};
  return {Code::kMismatch, version_ + " says that this is rank " + std::to_string(said.rank) + " of " +
                               std::to_string(said.world_size) + ", its launcher's variables rank " +
                               std::to_string(expected.rank) + " of " + std::to_string(expected.world_size) +
                               ": the library does not belong to the launcher; name the right libmpi.so in "
                               "RONDO_MPI_LIBRARY"};
}

Mpi::MessagePtr Mpi::make_message(size_t capacity) {
  {
    const MutexLock lock(mutex_);
    if (capacity == kMostBytes && !spare_.empty()) {
      MessagePtr message = std::move(spare_.back());
      spare_.pop_back();
      return message;
    }
  }
  auto message = std::make_unique<Message>();
  message->memory = std::make_unique_for_overwrite<std::byte[]>(capacity);
  message->capacity = capacity;
  return message;
}

void Mpi::reuse(MessagePtr message) {
  const MutexLock lock(mutex_);
  if (message->capacity == kMostBytes && spare_.size() < kMostSpare) spare_.push_back(std::move(message));
}

void Mpi::leave(MessagePtr message) {
  const MutexLock lock(mutex_);
  if (!closed_) forget_completed();
  left_.push_back(std::move(message));
}

Status Mpi::send(Message& message, Place to, Until until) {
  const MutexLock lock(mutex_);
  if (closed_) return {Code::kClosed, "MPI was finished"};
  const int error = calls_->send(message.memory.get(), message.byte_count, to.rank, to.tag,
                                 until == Until::kMet ? 1 : 0, &message.request);
  return error == 0 ? Status() : failed(error, "sending to rank " + std::to_string(to.rank), to.rank);
}

Result<bool> Mpi::take(Message& message, Place from) {
  const MutexLock lock(mutex_);
  if (closed_) return Status(Code::kClosed, "MPI was finished");
  int found = 0;
  const int error = calls_->receive(message.memory.get(), message.capacity, from.rank, from.tag, &found,
                                    &message.byte_count, &message.request);
  if (error != 0) return failed(error, "receiving from rank " + std::to_string(from.rank), from.rank);
  if (found != 0 && message.byte_count > message.capacity)
    return Status(Code::kCorrupt,
                  "a message of " + std::to_string(message.byte_count) + " bytes came by MPI, and " +
                      std::to_string(message.capacity) + " are the most",
                  {.peer = from.rank});
  return found != 0;
}

Result<bool> Mpi::complete(Message& message) {
  const MutexLock lock(mutex_);
  if (closed_) return Status(Code::kClosed, "MPI was finished");
  int done = 0;
  if (const int error = calls_->test(&message.request, &done); error != 0) return failed(error, "MPI_Test");
  return done != 0;
}

Result<int> Mpi::reserve_tag(uint64_t group) {
  const int tag = kFirstGroupTag + static_cast<int>(group % static_cast<uint64_t>(highest_tag_ - kFirstGroupTag));
  const MutexLock lock(mutex_);
  if (tags_.insert(tag).second) return tag;
  return Status(Code::kResource, "MPI has too few tags (" + std::to_string(highest_tag_) +
                                     "): two groups would share one. Give this group another name");
}

void Mpi::release_tag(int tag) {
  const MutexLock lock(mutex_);
  tags_.erase(tag);
}

bool Mpi::all_complete() {
  const MutexLock lock(mutex_);
  forget_completed();
  return left_.empty();
}

void Mpi::forget_completed() {
  std::erase_if(left_, [&](const MessagePtr& message) {
    int done = 0;
    return calls_->test(&message->request, &done) == 0 && done != 0;
  });
}

Status Mpi::Patience::over(const Mpi& mpi, int peer) const {
  const std::string absent = "rank " + std::to_string(peer) + " has not come to the end of MPI, and ";
  if (aborted && aborted()) return {Code::kAborted, absent + "the job failed: MPI is left unfinished", {.peer = peer}};
  if (!deadline.passed(mpi.env_->now())) return {};
  return {Code::kTimeout,
          absent +
              "is waited for no longer: MPI is left unfinished, and its launcher may complain. Likely that rank is "
              "stopped, or still at work",
          {.peer = peer}};
}

Status Mpi::wait_for(Message& message, int peer, const Patience& patience) {
  for (;;) {
    const auto done = complete(message);
    RONDO_TRY(done);
    if (*done) return {};
    RONDO_TRY(patience.over(*this, peer));
    env_->idle({}, kNap);
  }
}

Status Mpi::take_from(int peer, const Patience& patience) {
  MessagePtr message = make_message(kEndBytes);
  for (;;) {
    const auto found = take(*message, {.rank = peer, .tag = kEndTag});
    RONDO_TRY(found);
    if (*found) break;
    RONDO_TRY(patience.over(*this, peer));
    env_->idle({}, kNap);
  }
  const Status status = wait_for(*message, peer, patience);
  if (status.ok()) {
    reuse(std::move(message));
  } else {
    leave(std::move(message));
  }
  return status;
}

/// Words of farewell that nobody waited for: some MPIs complain of messages that were never taken.
void Mpi::take_what_is_left() {
  constexpr int kLooks = 64;
  MessagePtr message = make_message();
  for (int look = 0; look < kLooks; ++look) {
    const auto found = take(*message, {});
    if (!found.ok()) break;
    if (!*found) continue;
    leave(std::exchange(message, make_message()));
  }
  reuse(std::move(message));
}

/// All tell rank 0 that they are here, and rank 0 tells all that everybody is.
Status Mpi::meet_at_the_end(const Patience& patience) {
  const auto tell = [&](int peer) -> Status {
    MessagePtr message = make_message(kEndBytes);
    message->byte_count = 0;
    RONDO_TRY(send(*message, {.rank = peer, .tag = kEndTag}, Until::kCopied));
    leave(std::move(message));
    return {};
  };
  if (at_.rank != 0) {
    RONDO_TRY(tell(0));
    return take_from(0, patience);
  }
  for (int peer = 1; peer < at_.world_size; ++peer) RONDO_TRY(take_from(peer, patience));
  for (int peer = 1; peer < at_.world_size; ++peer) RONDO_TRY(tell(peer));
  return {};
}

Status Mpi::close(Deadline deadline, Ending ending, const Aborted& aborted) {
  {
    const MutexLock lock(mutex_);
    if (closed_) return {};
  }
  Status status;
  if (ending == Ending::kTogether) status = meet_at_the_end({.deadline = deadline, .aborted = aborted});
  if (status.ok() && ending == Ending::kTogether) {
    const Deadline soon{std::min(deadline.at, env_->now() + kLeftoversFor)};  // all are here: what comes, comes now
    for (take_what_is_left(); !all_complete() && !soon.passed(env_->now()); take_what_is_left()) env_->idle({}, kNap);
    if (!all_complete()) status = Status(Code::kTimeout, "a message by MPI is still under way", {.rank = at_.rank});
  }
  {
    const MutexLock lock(mutex_);
    closed_ = true;
  }
  if (!status.ok() || ending == Ending::kAlone || blocking_ == nullptr) return status;
  const auto returned = blocking_->make(calls_->finish, deadline.left(env_->now()), aborted);
  if (!returned && aborted && aborted())
    return {Code::kAborted, "waited for MPI_Finalize of " + version_ + ", and the job failed", {.rank = at_.rank}};
  if (!returned)
    return {Code::kTimeout,
            "waited for MPI_Finalize of " + version_ + " in vain: not every rank has come to it, or a link is gone",
            {.rank = at_.rank}};
  return *returned == 0 ? Status() : failed(*returned, "MPI_Finalize");
}

}  // namespace rondo::comm
