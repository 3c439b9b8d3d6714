#include "comm/base/thread.h"

#include <pthread.h>

#include <mutex>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace rondo::comm {

Result<std::thread> start_thread(const char* name, std::function<void()> body) {
  try {
    return std::thread([name, body = std::move(body)] {
      pthread_setname_np(pthread_self(), name);
      body();
    });
  } catch (const std::system_error& error) {  // the one way the standard library says that there is no thread left
    return Status(Code::kResource, "cannot start the thread " + std::string(name) + ": " + error.what() +
                                       "; the limit is RLIMIT_NPROC (ulimit -u) or the pids cgroup");
  }
}

namespace {

struct Ending {
  ~Ending() {
    for (std::thread& thread : threads) thread.join();
  }
  std::vector<std::thread> threads;
};

}  // namespace

void join_later(std::thread thread) {
  static std::mutex mutex;
  static Ending ending;
  Ending earlier;
  const std::lock_guard lock(mutex);
  earlier.threads.swap(ending.threads);
  ending.threads.push_back(std::move(thread));
}

}  // namespace rondo::comm
