/// rondo-start-probe SOCKET: a rank of which only the moment of its first instruction is wanted.
///
/// Sends "RANK GENERATION NANOSECONDS" (of CLOCK_MONOTONIC) as one datagram to the abstract Unix socket SOCKET. In the
/// first generation it then waits to be killed, in a later one it ends. It reads torchrun's variables, so that any
/// launcher may start it. Uses libc only.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>

namespace {

constexpr int kUsage = 2, kNobodyListens = 3;
constexpr unsigned kLongestLifeSeconds = 600;  // a launcher that was killed may leave it behind

const char* variable(const char* name) {
  const char* value = getenv(name);
  return value != nullptr ? value : "0";
}

}  // namespace

int main(int argc, char** argv) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  sockaddr_un to{};
  if (argc != 2 || strlen(argv[1]) >= sizeof to.sun_path) {
    fputs("rondo-start-probe: started by `rondo bench start`, not by hand\n", stderr);
    return kUsage;
  }
  char text[128];
  const int length = snprintf(text, sizeof text, "%s %s %lld", variable("RANK"), variable("TORCHELASTIC_RESTART_COUNT"),
                              static_cast<long long>(now.tv_sec) * 1'000'000'000 + now.tv_nsec);
  const int handle = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  to.sun_family = AF_UNIX;
  memcpy(to.sun_path + 1, argv[1], strlen(argv[1]));
  const auto address_length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + strlen(argv[1]));
  if (sendto(handle, text, static_cast<size_t>(length), 0, reinterpret_cast<const sockaddr*>(&to), address_length) <
      0) {
    perror("rondo-start-probe: sendto");
    return kNobodyListens;
  }
  if (strcmp(variable("TORCHELASTIC_RESTART_COUNT"), "0") != 0) return 0;
  alarm(kLongestLifeSeconds);
  pause();
  return 1;
}
