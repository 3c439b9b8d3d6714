#include <utility>

#include "comm/store/content.h"
#include "rondo/comm/store.h"
#include "rondo/comm/thread_annotations.h"

namespace rondo::comm {
namespace {

struct SharedContent {
  Mutex mutex;
  StoreContent content RONDO_GUARDED_BY(mutex);
};

class InProcessCall final : public StoreCall {
 public:
  InProcessCall(std::shared_ptr<SharedContent> shared, StoreRequest request)
      : shared_(std::move(shared)), request_(std::move(request)) {
    look();
  }

  Progress advance(TimePoint) override {
    if (!done_ && status_.ok()) look();
    if (!status_.ok()) return Progress::kFailed;
    return done_ ? Progress::kDone : Progress::kBlocked;
  }
  const std::vector<std::string>& values() const override { return values_; }
  Status status() const override { return status_; }

 private:
  void look() {
    const MutexLock lock(shared_->mutex);
    const uint64_t version = shared_->content.version();
    if (looked_ && version == seen_) return;  // nothing changed since the last look
    looked_ = true;
    seen_ = version;
    auto reply = shared_->content.apply(request_);
    if (!reply.ok()) {
      status_ = reply.status();
    } else if (reply->has_value()) {
      values_ = std::move(**reply);
      done_ = true;
    }
  }

  const std::shared_ptr<SharedContent> shared_;  // the store may go before its calls
  const StoreRequest request_;
  bool looked_ = false, done_ = false;
  uint64_t seen_ = 0;
  std::vector<std::string> values_;
  Status status_;
};

class InProcessStore final : public Store {
 public:
  std::unique_ptr<StoreCall> start(StoreRequest request) override {
    return std::make_unique<InProcessCall>(shared_, std::move(request));
  }

 private:
  const std::shared_ptr<SharedContent> shared_ = std::make_shared<SharedContent>();
};

}  // namespace

std::shared_ptr<Store> in_process_store() { return std::make_shared<InProcessStore>(); }

}  // namespace rondo::comm
