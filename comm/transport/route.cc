#include "comm/transport/route.h"

#include <algorithm>
#include <utility>

namespace rondo::comm {
namespace {

constexpr Duration kFirstPatience = std::chrono::seconds(2);
constexpr int kMostDoublings = 5;

/// The first of several connections that stands. Until then it has the descriptor of the first, so that a sleeper may
/// notice the others at the end of its slice only.
class FirstStream final : public Stream {
 public:
  struct Runner {
    Address address;
    std::unique_ptr<Stream> stream;
  };
  FirstStream(std::vector<Runner> runners, std::shared_ptr<std::optional<Address>> reached)
      : runners_(std::move(runners)), reached_(std::move(reached)) {}

  IoResult read(std::span<std::byte> into) override {
    const IoResult state = settle();
    return state.state == IoResult::State::kDone ? runners_.front().stream->read(into) : state;
  }
  IoResult write(std::span<const std::byte> head, std::span<const std::byte> body) override {
    const IoResult state = settle();
    return state.state == IoResult::State::kDone ? runners_.front().stream->write(head, body) : state;
  }
  void close() override {
    for (Runner& runner : runners_) runner.stream->close();
  }
  int handle() const override { return runners_.empty() ? -1 : runners_.front().stream->handle(); }
  int64_t peer_uid() const override { return reached_->has_value() ? runners_.front().stream->peer_uid() : -1; }

 private:
  /// kDone: one stands, and is the only one left.
  IoResult settle() {
    if (reached_->has_value()) return {};
    for (size_t i = 0; i < runners_.size();) {
      const IoResult state = runners_[i].stream->write({}, {});
      if (state.state == IoResult::State::kDone) {
        *reached_ = runners_[i].address;
        Runner first = std::move(runners_[i]);
        runners_.clear();
        runners_.push_back(std::move(first));
        return {};
      }
      if (state.state == IoResult::State::kWouldBlock) {
        ++i;
        continue;
      }
      last_failure_ = state;
      runners_.erase(runners_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return runners_.empty() ? last_failure_ : IoResult{IoResult::State::kWouldBlock};
  }

  std::vector<Runner> runners_;
  const std::shared_ptr<std::optional<Address>> reached_;  // shared with the route
  IoResult last_failure_{IoResult::State::kFailed};
};

}  // namespace

std::string text_of(const std::vector<Address>& addresses) {
  std::string text;
  for (const Address& address : addresses) text += (text.empty() ? "" : " or ") + address.text;
  return text;
}

std::string Route::text() const { return text_of(left_); }

Duration Route::patience() const {
  if (left_.size() < 2) return Duration::max();
  return kFirstPatience * (1 << std::min(silences_, kMostDoublings));
}

std::vector<Address> Route::candidates() const {
  std::vector<Address> result = left_;
  if (resting_ && result.size() > 1) std::erase(result, *resting_);
  return result;
}

Result<std::unique_ptr<Stream>> Route::dial(Env& env) {
  const std::vector<Address> places = candidates();
  resting_.reset();
  reached_ = std::make_shared<std::optional<Address>>();
  if (places.size() == 1) {
    *reached_ = places.front();
    return env.dial(places.front());
  }
  Status none(Code::kInvalidArgument, "there is no address to dial");
  std::vector<FirstStream::Runner> runners;
  for (const Address& address : places) {
    auto stream = env.dial(address);
    if (stream.ok())
      runners.push_back({address, *std::move(stream)});
    else
      none = stream.status();
  }
  if (runners.empty()) return none;
  return std::unique_ptr<Stream>(std::make_unique<FirstStream>(std::move(runners), reached_));
}

bool Route::turned_back(const Status& why) {
  if (left_.size() < 2 || !reached_ || !reached_->has_value()) return false;
  switch (why.code()) {
    case Code::kTimeout:
      ++silences_;
      [[fallthrough]];
    case Code::kPeerLost:
      resting_ = **reached_;
      return false;
    default:
      std::erase(left_, **reached_);
      return true;
  }
}

}  // namespace rondo::comm
