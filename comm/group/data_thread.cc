#include "comm/group/data_thread.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

#include "comm/base/thread.h"
#include "comm/group/endpoint_state.h"

namespace rondo::comm {
namespace {

constexpr Duration kSlice = std::chrono::milliseconds(1);
constexpr Duration kMpiSlice = std::chrono::microseconds(100);
// After the last operation, acknowledgements that its peers wait for may be left.
constexpr int kLooksAfterwards = 3;

}  // namespace

/// Note [Nobody sleeps through news]: the thread says that it is asleep, then looks whether there is work; the others
/// change the work, then look whether it is asleep, and take the mutex before they wake it. All in one order, so one of
/// the two sees the other. The same holds for `moving` and `waiting`.
struct DataThread::Shared {
  std::shared_ptr<Env> env;
  std::atomic<int> in_flight{0}, waiting{0};
  std::atomic<bool> moving{false}, asleep{false}, stop{false};
  std::mutex mutex;
  std::condition_variable changed;

  void wake() {
    if (!asleep.load()) return;
    const std::lock_guard lock(mutex);
    changed.notify_one();
  }

  void sleep_without_work(int looks) {
    std::unique_lock lock(mutex);
    asleep.store(true);
    changed.wait(lock, [&] { return stop.load() || (waiting.load() == 0 && (in_flight.load() > 0 || looks > 0)); });
    asleep.store(false);
  }

  void run(const std::weak_ptr<EndpointState>& endpoint) {
    int looks = 0;
    for (;;) {
      sleep_without_work(looks);
      auto state = endpoint.lock();  // for this round only
      if (stop.load() || !state) return;
      moving.store(true);
      const bool moved = waiting.load() == 0 && state->progress_carried();
      moving.store(false);
      looks = moved ? kLooksAfterwards : std::max(looks - 1, 0);
      if (moved) continue;
      const std::vector<WaitHandle> handles = state->carried_handles();
      const bool by_mpi =
          state->options().mpi != nullptr;  // no descriptor becomes ready: who does not look sees nothing
      state.reset();
      env->idle(handles, by_mpi ? kMpiSlice : kSlice);
    }
  }
};

Result<std::unique_ptr<DataThread>> DataThread::start(const std::shared_ptr<EndpointState>& endpoint) {
  auto shared = std::make_shared<Shared>();
  shared->env = endpoint->options().env;
  auto thread = start_thread("rondo-data", [shared, weak = std::weak_ptr(endpoint)] { shared->run(weak); });
  RONDO_TRY(thread);
  std::unique_ptr<DataThread> made(new DataThread(std::move(shared)));
  made->thread_ = *std::move(thread);
  return made;
}

DataThread::~DataThread() {
  shared_->stop.store(true);
  shared_->wake();
  if (thread_.get_id() == std::this_thread::get_id()) {
    join_later(std::move(thread_));  // it held the last reference to the endpoint, and ends next
  } else {
    thread_.join();
  }
}

void DataThread::queued(int change) {
  if (shared_->in_flight.fetch_add(change) + change > 0 && change > 0) shared_->wake();
}

void DataThread::caller_waits() { shared_->waiting.fetch_add(1); }

void DataThread::caller_left() {
  if (shared_->waiting.fetch_sub(1) == 1 && shared_->in_flight.load() > 0) shared_->wake();
}

bool DataThread::moving() const { return shared_->moving.load(); }

}  // namespace rondo::comm
