#include "comm/watch/robust_mutex.h"

#include <cerrno>
#include <chrono>
#include <ctime>
#include <thread>

#if defined(__SANITIZE_THREAD__)
#define RONDO_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RONDO_THREAD_SANITIZER 1
#endif
#endif

namespace rondo::comm {
namespace {

#if defined(RONDO_THREAD_SANITIZER)
// GCC 12's ThreadSanitizer follows robust mutexes through trylock, but does not know clocklock: it looks every
// millisecond there, to the same effect.
int lock_until(pthread_mutex_t* mutex, Deadline deadline) {
  while (true) {
    const int result = pthread_mutex_trylock(mutex);
    if (result != EBUSY) return result;
    if (deadline.passed(Clock::now())) return ETIMEDOUT;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}
#else
int lock_until(pthread_mutex_t* mutex, Deadline deadline) {
  // steady_clock is CLOCK_MONOTONIC on Linux.
  const auto since_epoch = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.at.time_since_epoch()).count();
  const timespec until{.tv_sec = since_epoch / 1'000'000'000, .tv_nsec = since_epoch % 1'000'000'000};
  return pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &until);
}
#endif

}  // namespace

bool RobustMutex::initialise() {
  pthread_mutexattr_t attributes;
  if (pthread_mutexattr_init(&attributes) != 0) return false;
  const bool good = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0 &&
                    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0 &&
                    pthread_mutex_init(&mutex_, &attributes) == 0;
  pthread_mutexattr_destroy(&attributes);
  return good;
}

RobustMutex::Outcome RobustMutex::lock(Deadline deadline) {
  switch (lock_until(&mutex_, deadline)) {
    case 0:
      return Outcome::kTaken;
    case EOWNERDEAD:
      pthread_mutex_consistent(&mutex_);
      return Outcome::kHolderDied;
    case ETIMEDOUT:
      return Outcome::kHeld;
    default:
      return Outcome::kBroken;
  }
}

void RobustMutex::unlock() { pthread_mutex_unlock(&mutex_); }

}  // namespace rondo::comm
