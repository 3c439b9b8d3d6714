#include "trainer/init/last_words.h"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "trainer/init/exception_text.h"
#include "trainer/init/job_state.h"
#include "trainer/observe/error_file.h"

namespace rondo::trainer {
namespace {

/// The one thing of a process that a terminate handler can reach. Never destroyed: the end may come after main.
struct Handler {
  std::timed_mutex mutex;
  std::vector<LastWords*> jobs;  // guarded by mutex
  std::terminate_handler before = nullptr;
  std::atomic_flag speaking;
};

Handler& handler() {
  static Handler& only = *new Handler;
  return only;
}

[[noreturn]] void on_terminate() {
  Handler& all = handler();
  // A second end, on another thread or in here, leaves the words to the first.
  if (!all.speaking.test_and_set()) {
    const std::unique_lock lock(all.mutex, std::chrono::seconds(1));
    if (lock.owns_lock()) {
      for (LastWords* job : all.jobs) job->say();
    }
  }
  if (all.before != nullptr) all.before();
  std::abort();
}

}  // namespace

LastWords::LastWords(JobState& job, int messages_descriptor, std::string error_file)
    : job_(job),
      agent_(messages_descriptor < 0 ? -1 : ::fcntl(messages_descriptor, F_DUPFD_CLOEXEC, messages_descriptor + 1)),
      error_file_(std::move(error_file)) {
  Handler& all = handler();
  const std::lock_guard lock(all.mutex);
  all.jobs.push_back(this);
  if (all.before == nullptr) all.before = std::set_terminate(on_terminate);
}

LastWords::~LastWords() {
  Handler& all = handler();
  const std::lock_guard lock(all.mutex);
  std::erase(all.jobs, this);
}

void LastWords::say() noexcept {
  const std::string what = current_exception_text().value_or("std::terminate() without an exception");
  const int rank = job_.bootstrap().at.rank;
  WorkerFailure failure{.code = "exception", .text = what, .culprit_rank = rank, .exit_code = 128 + SIGABRT};
  try {
    if (std::current_exception()) throw;
  } catch (const Error& error) {  // it may blame another rank
    failure.code = error.code();
    failure.text = error.what();
    if (error.culprit_rank() >= 0) failure.culprit_rank = error.culprit_rank();
  } catch (...) {
  }
  const std::string reason = "uncaught " + what + " in step " + std::to_string(job_.current_step());
  if (failure.culprit_rank == rank) failure.text = reason;
  // Another launcher than ours may kill the others before they have said whom they were waiting for.
  if (!agent_.connected()) {
    job_.log(LogLevel::kError, "rank " + std::to_string(rank) + " aborted the job: " + reason);
  }
  job_.abort(reason);
  agent_.failure(failure);
  write_error_file(error_file_, failure, rank);
}

}  // namespace rondo::trainer
