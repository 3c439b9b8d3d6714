#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "comm/base/thread.h"
#include "comm/store/service.h"
#include "rondo/comm/store.h"

namespace rondo::comm {
namespace {

// Handshakes have time limits; nothing else needs the clock.
constexpr Duration kLongestSleep = std::chrono::milliseconds(250);

class ThreadedServer final : public StoreServer {
 public:
  ThreadedServer(std::shared_ptr<Env> env, std::unique_ptr<StoreService> service, int wake)
      : env_(std::move(env)), service_(std::move(service)), addresses_(service_->addresses()), wake_(wake) {}
  ~ThreadedServer() override {
    ThreadedServer::close();
    ::close(wake_);
  }

  Status start() {
    auto thread = start_thread("rondo-store", [this] { run(); });
    RONDO_TRY(thread);
    thread_ = *std::move(thread);
    return {};
  }

  Address address() const override { return addresses_.front(); }
  std::vector<Address> addresses() const override { return addresses_; }

  void close() override {
    stop_.store(true, std::memory_order_release);
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t woken = ::write(wake_, &one, sizeof(one));  // else it wakes by itself
    if (thread_.joinable()) thread_.join();
  }

 private:
  void run() {
    while (!stop_.load(std::memory_order_acquire)) {
      if (service_->advance(env_->now()) == Progress::kProgressed) continue;
      auto handles = service_->wait_handles();
      handles.push_back({.handle = wake_});
      env_->idle(handles, kLongestSleep);
    }
    service_.reset();  // closes every connection
  }

  const std::shared_ptr<Env> env_;
  std::unique_ptr<StoreService> service_;  // the thread's alone once it runs
  const std::vector<Address> addresses_;
  const int wake_;  // an eventfd
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<StoreServer>> serve_store(std::shared_ptr<Env> env, StoreServerOptions options) {
  auto service = StoreService::open(env, std::move(options));
  RONDO_TRY(service);
  const int wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake < 0)
    return Status(errno == EMFILE ? Code::kResource : Code::kIo,
                  std::string("cannot make an eventfd for the store's thread: ") + std::strerror(errno),
                  {.operation = "serving the store"});
  auto server = std::make_unique<ThreadedServer>(std::move(env), *std::move(service), wake);
  RONDO_TRY(server->start());
  return std::unique_ptr<StoreServer>(std::move(server));
}

}  // namespace rondo::comm
