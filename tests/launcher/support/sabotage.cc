/// Preloaded (LD_PRELOAD) into a rank that knows nothing of it, so that a test can end it in ways for which the kernel
/// has no signal. At SIGRTMIN it exits with code 37; at SIGRTMIN + 1 it takes memory until that ends it.
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

void leave(int /*signal*/) { ::_exit(37); }

void eat(int /*signal*/) {
  constexpr size_t kPiece = size_t{4} << 20;
  while (true) {
    void* const piece = ::mmap(nullptr, kPiece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (piece == MAP_FAILED) ::_exit(38);
    ::memset(piece, 1, kPiece);
  }
}

[[gnu::constructor]] void listen_for_the_test() {
  ::signal(SIGRTMIN, leave);
  ::signal(SIGRTMIN + 1, eat);
}

}  // namespace
