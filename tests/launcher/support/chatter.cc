/// launcher_chatter LINES PER_SECOND GO END: a rank that talks at a steady pace, as programs with progress bars do.
///
/// Prints "ready", waits until somebody opens the FIFO GO for writing, then writes LINES numbered lines to stdout, each
/// in a write() of its own, and every few lines a frame of a bar to stderr: "\rbar of rank 3: 17/100 [==>   ]". Ends
/// the bar and stdout ("done"), and waits in the same way for END.
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

constexpr int kLinesPerFrame = 8;
constexpr unsigned kLongestLifeSeconds = 300;

void write_all(int fd, const std::string& text) {
  if (::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) std::_Exit(99);
}

void wait_for_writer(const char* fifo) {
  if (::open(fifo, O_RDONLY | O_CLOEXEC) < 0) std::_Exit(98);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  ::alarm(kLongestLifeSeconds);
  const int lines = std::atoi(argv[1]), per_second = std::atoi(argv[2]), rank = std::atoi(std::getenv("RANK"));
  const std::string of_rank = " of rank " + std::to_string(rank);
  write_all(STDOUT_FILENO, "ready" + of_rank + "\n");
  wait_for_writer(argv[3]);

  timespec next{};
  ::clock_gettime(CLOCK_MONOTONIC, &next);
  const long step = 1'000'000'000L / per_second;
  next.tv_nsec += step * rank / 64;  // ranks do not all talk at once
  for (int i = 0; i < lines; ++i) {
    next.tv_nsec += step;
    next.tv_sec += next.tv_nsec / 1'000'000'000L;
    next.tv_nsec %= 1'000'000'000L;
    while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, nullptr) == EINTR) continue;
    write_all(STDOUT_FILENO, "line " + std::to_string(i) + of_rank + " " +
                                 std::string(static_cast<size_t>((i * 7 + rank) % 90), 'x') + " end\n");
    if (i % kLinesPerFrame == 0 || i + 1 == lines) {
      write_all(STDERR_FILENO, "\rbar" + of_rank + ": " + std::to_string(i + 1) + "/" + std::to_string(lines) + " [" +
                                   std::string(static_cast<size_t>(20 * i / lines), '=') + ">]");
    }
  }
  write_all(STDERR_FILENO, "\n");
  write_all(STDOUT_FILENO, "done" + of_rank + "\n");
  wait_for_writer(argv[4]);
  return 0;
}
