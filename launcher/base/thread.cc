#include "launcher/base/thread.h"

#include <pthread.h>
#include <signal.h>

#include <string>
#include <system_error>
#include <utility>

namespace rondo::launcher {

comm::Result<std::thread> start_thread(const char* name, std::function<void()> body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // a thread begins with the mask of its creator
  comm::Result<std::thread> started = comm::Status(comm::Code::kResource, "");
  try {
    started = std::thread([name, body = std::move(body)] {
      pthread_setname_np(pthread_self(), name);
      body();
    });
  } catch (const std::system_error& error) {  // the one way the standard library says that there is no thread left
    started = comm::Status(comm::Code::kResource, "cannot start the thread " + std::string(name) + ": " + error.what() +
                                                      "; the limit is RLIMIT_NPROC (ulimit -u) or the pids cgroup");
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

}  // namespace rondo::launcher
