/// Clang's thread-safety annotations, and a Mutex that carries them. With other compilers they vanish.
#pragma once

#include <mutex>

#if defined(__clang__)
#define RONDO_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define RONDO_THREAD_ANNOTATION(x)
#endif
#define RONDO_CAPABILITY(x) RONDO_THREAD_ANNOTATION(capability(x))
#define RONDO_SCOPED_CAPABILITY RONDO_THREAD_ANNOTATION(scoped_lockable)
#define RONDO_GUARDED_BY(x) RONDO_THREAD_ANNOTATION(guarded_by(x))
#define RONDO_REQUIRES(...) RONDO_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define RONDO_EXCLUDES(...) RONDO_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define RONDO_ACQUIRE(...) RONDO_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define RONDO_TRY_ACQUIRE(...) RONDO_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
#define RONDO_RELEASE(...) RONDO_THREAD_ANNOTATION(release_capability(__VA_ARGS__))

namespace rondo::comm {

class RONDO_CAPABILITY("mutex") Mutex {
 public:
  void lock() RONDO_ACQUIRE() { mutex_.lock(); }
  bool try_lock() RONDO_TRY_ACQUIRE(true) { return mutex_.try_lock(); }
  void unlock() RONDO_RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class [[nodiscard]] RONDO_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) RONDO_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RONDO_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace rondo::comm
