#include "comm/watch/stack_writer.h"

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <string_view>
#include <vector>

namespace rondo::comm {
namespace {

constexpr int kMostFrames = 48;
constexpr size_t kPathBytes = 256;
constexpr std::array kCrashes{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

/// What a handler can reach: null until there is a recorder.
std::atomic<flight::Word*> target{nullptr};
/// A forked child has the handlers, too, but the record is its parent's.
std::atomic<pid_t> owner{0};

flight::Word* own_record() { return ::getpid() == owner.load() ? target.load() : nullptr; }

/// Lines on their way into the record. Everything here is safe in a signal handler.
class Text {
 public:
  void put(std::string_view text) {
    const size_t fits = std::min(text.size(), buffer_.size() - used_);
    std::memcpy(buffer_.data() + used_, text.data(), fits);
    used_ += fits;
  }
  bool has_room(size_t bytes) const { return buffer_.size() - used_ >= bytes; }
  void put_hex(uint64_t number) {
    std::array<char, 18> digits;
    size_t at = digits.size();
    do {
      digits[--at] = "0123456789abcdef"[number & 15];
      number >>= 4;
    } while (number != 0);
    digits[--at] = 'x';
    digits[--at] = '0';
    put({digits.data() + at, digits.size() - at});
  }
  void put_number(uint64_t number) {
    std::array<char, 20> digits;
    size_t at = digits.size();
    do {
      digits[--at] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    put({digits.data() + at, digits.size() - at});
  }
  /// Claims a place for all of it, so that threads do not write over each other.
  void write(flight::Word* words) {
    const size_t at = words[flight::kStacksBytesWord].fetch_add(used_, std::memory_order_relaxed);
    if (at < flight::kStacksBytes) {
      std::memcpy(reinterpret_cast<char*>(words + flight::kStacksAt) + at, buffer_.data(),
                  std::min(used_, flight::kStacksBytes - at));
    }
    used_ = 0;
  }

 private:
  std::array<char, 6144> buffer_;
  size_t used_ = 0;
};

/// The frames of one stack, and the files that they lie in.
class Frames {
 public:
  void add(uint64_t address) {
    if (count_ < frames_.size()) frames_[count_++].address = address;
  }
  bool full() const { return count_ == frames_.size(); }

  /// From /proc/self/maps, line by line: "start-end mode offset device inode   path".
  void find_files() {
    const int maps = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (maps < 0) return;
    std::array<char, 512> line;  // longer ones are cut: their paths are
    std::array<char, 1024> buffer;
    size_t used = 0;
    for (ssize_t count; (count = ::read(maps, buffer.data(), buffer.size())) != 0;) {
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) break;
      for (ssize_t i = 0; i < count; ++i) {
        const char letter = buffer[static_cast<size_t>(i)];
        if (letter == '\n') {
          take({line.data(), used});
          used = 0;
        } else if (used < line.size()) {
          line[used++] = letter;
        }
      }
    }
    ::close(maps);
  }

  void write(Text& text) const {
    for (size_t i = 0; i < count_; ++i) {
      const Frame& frame = frames_[i];
      const std::string_view name =
          frame.file < 0 ? std::string_view("?") : files_[static_cast<size_t>(frame.file)].name();
      if (!text.has_room(name.size() + 20)) return;  // whole lines only: a cut number is another function's
      text.put(name);
      text.put("+");
      text.put_hex(frame.file < 0 ? frame.address : frame.offset);
      text.put("\n");
    }
  }

 private:
  struct Frame {
    uint64_t address = 0, offset = 0;
    int file = -1;
  };
  struct File {
    std::array<char, kPathBytes> path;
    size_t bytes = 0;
    std::string_view name() const { return {path.data(), bytes}; }
  };

  static uint64_t hex(std::string_view line, size_t& at) {
    uint64_t value = 0;
    for (; at < line.size(); ++at) {
      const char c = line[at];
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
      if (digit < 0) break;
      value = value << 4 | static_cast<uint64_t>(digit);
    }
    return value;
  }

  void take(std::string_view line) {
    size_t at = 0;
    const uint64_t start = hex(line, at);
    const uint64_t end = hex(line, ++at);
    bool hit = false;
    for (size_t i = 0; i < count_ && !hit; ++i) hit = frames_[i].address >= start && frames_[i].address < end;
    const size_t slash = line.find('/');
    if (!hit || slash == std::string_view::npos) return;
    at = std::min(line.find(' ', at) + 1, line.size());  // the mode
    at = std::min(line.find(' ', at) + 1, line.size());
    const uint64_t offset = hex(line, at);
    const int file = file_of(line.substr(slash));
    for (size_t i = 0; i < count_; ++i) {
      Frame& frame = frames_[i];
      if (frame.address < start || frame.address >= end) continue;
      frame.file = file;
      frame.offset = frame.address - start + offset;
    }
  }

  int file_of(std::string_view path) {
    path = path.substr(0, kPathBytes);
    for (size_t i = 0; i < file_count_; ++i)
      if (files_[i].name() == path) return static_cast<int>(i);
    if (file_count_ == files_.size()) return -1;
    File& file = files_[file_count_];
    std::memcpy(file.path.data(), path.data(), path.size());
    file.bytes = path.size();
    return static_cast<int>(file_count_++);
  }

  std::array<Frame, kMostFrames> frames_;
  std::array<File, 24> files_;
  size_t count_ = 0, file_count_ = 0;
};

uint64_t program_counter(const void* context) {
  const auto* at = static_cast<const ucontext_t*>(context);
#if defined(__x86_64__)
  return static_cast<uint64_t>(at->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return at->uc_mcontext.pc;
#else
  (void)at;
  return 0;
#endif
}

/// When what is known of a stack goes into the record: piece by piece where walking it may end the process, else at
/// once, because other threads write theirs at the same time.
enum class Pieces : uint8_t { kEarly, kTogether };

/// The calling thread's stack, from where the signal met it.
void write_stack(flight::Word* words, const void* context, Pieces pieces) {
  Text text;
  std::array<char, 17> name{};
  ::prctl(PR_GET_NAME, name.data());
  text.put("thread ");
  text.put_number(static_cast<uint64_t>(::syscall(SYS_gettid)));
  text.put(" ");
  text.put(name.data());
  text.put("\n");
  if (pieces == Pieces::kEarly) text.write(words);
  const uint64_t here = program_counter(context);
  Frames innermost;  // by itself: a stack that is destroyed may end the process when it is walked
  innermost.add(here);
  innermost.find_files();
  innermost.write(text);
  if (pieces == Pieces::kEarly) text.write(words);

  std::array<void*, kMostFrames> addresses;
  const int count = ::backtrace(addresses.data(), static_cast<int>(addresses.size()));
  const auto address = [&](int i) { return reinterpret_cast<uint64_t>(addresses[static_cast<size_t>(i)]); };
  int first = 0;  // behind the handler, and the kernel's call of it
  while (first < count && address(first) != here) ++first;
  Frames callers;
  for (int i = first == count ? 0 : first + 1; i < count && !callers.full(); ++i)
    callers.add(address(i) - 1);  // the call, not where it returns to
  callers.find_files();
  callers.write(text);
  text.write(words);
}

void begin(flight::Word* words, int signal) {
  words[flight::kStacksBytesWord].store(0, std::memory_order_relaxed);
  words[flight::kStacksSignalWord].store(static_cast<uint64_t>(signal), std::memory_order_relaxed);
}

void on_crash(int signal, siginfo_t* /*info*/, void* context) {
  if (flight::Word* const words = own_record()) {
    begin(words, signal);
    write_stack(words, context, Pieces::kEarly);
  }
  ::signal(signal, SIG_DFL);
  ::raise(signal);  // when this handler returns
}

/// All threads of this process but the calling one are to write their stacks.
void ask_other_threads() {
  const int folder = ::open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  struct Entry {  // of the kernel
    uint64_t inode;
    int64_t offset;
    uint16_t bytes;
    uint8_t type;
    char name[1];
  };
  const auto self = static_cast<int>(::syscall(SYS_gettid));
  alignas(8) std::array<char, 4096> buffer;
  for (long count; (count = ::syscall(SYS_getdents64, folder, buffer.data(), buffer.size())) > 0;) {
    for (long at = 0; at < count;) {
      const char* const entry = buffer.data() + at;
      uint16_t bytes = 0;
      std::memcpy(&bytes, entry + offsetof(Entry, bytes), sizeof bytes);
      int thread = 0;
      for (const char* digit = entry + offsetof(Entry, name); *digit >= '0' && *digit <= '9'; ++digit)
        thread = thread * 10 + (*digit - '0');
      if (thread > 0 && thread != self) ::syscall(SYS_tgkill, ::getpid(), thread, SIGUSR2);
      at += bytes;
    }
  }
  ::close(folder);
}

void on_question(int signal, siginfo_t* info, void* context) {
  const int before = errno;
  if (flight::Word* const words = own_record()) {
    const bool from_here = info->si_code == SI_TKILL && info->si_pid == ::getpid();
    if (!from_here) begin(words, signal);
    write_stack(words, context, Pieces::kTogether);
    if (!from_here) ask_other_threads();
    words[flight::kStacksAnswersWord].fetch_add(1, std::memory_order_release);
  }
  errno = before;
}

/// Leaves a handler that is there alone.
void handle(int signal, void (*handler)(int, siginfo_t*, void*), int more_flags) {
  struct sigaction now {};
  if (::sigaction(signal, nullptr, &now) != 0 || (now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != SIG_DFL) return;
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_RESTART | more_flags;
  sigemptyset(&action.sa_mask);
  ::sigaction(signal, &action, nullptr);
}

/// A stack that overflowed cannot take the handler's frames. Under the lock of write_stacks_into().
void give_own_stack() {
  constexpr size_t kBytes = 128 * 1024;
  static std::vector<char>& memory = *new std::vector<char>();  // as long as the process
  stack_t now{};
  if (!memory.empty() || ::sigaltstack(nullptr, &now) != 0 || (now.ss_flags & SS_DISABLE) == 0) return;
  memory.resize(kBytes);
  stack_t own{};
  own.ss_sp = memory.data();
  own.ss_size = memory.size();
  ::sigaltstack(&own, nullptr);
}

}  // namespace

void write_stacks_into(std::shared_ptr<FlightRecorder> recorder) {
  static std::mutex& mutex = *new std::mutex;
  static std::shared_ptr<FlightRecorder>& kept = *new std::shared_ptr<FlightRecorder>;  // shared with the endpoint
  const std::lock_guard lock(mutex);
  owner.store(::getpid());
  target.store(recorder->stacks());
  kept = std::move(recorder);
  std::array<void*, 2> loaded;  // the first call loads a library, which no handler may
  ::backtrace(loaded.data(), static_cast<int>(loaded.size()));
  give_own_stack();
  for (const int signal : kCrashes) handle(signal, on_crash, SA_ONSTACK);
  handle(SIGUSR2, on_question, 0);  // an alternate stack of others is too small for it
}

}  // namespace rondo::comm
