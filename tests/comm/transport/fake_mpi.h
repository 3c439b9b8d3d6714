/// An MPI of two ranks in one process, behind the table that comm/mpi/component.h describes: messages wait in queues of
/// the sender, and a receive takes them at once, or never while frozen() says so. For tests of what stands on it.
///
/// One world at a time: construct a FakeMpi, then use component(rank) of it. Threading: internally locked.
#pragma once

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "comm/mpi/component.h"

namespace rondo::test {

class FakeMpi {
 public:
  FakeMpi() { world() = this; }
  ~FakeMpi() {
    std::unique_lock lock(mutex_);
    finish_held_ = false;
    changed_.notify_all();
    changed_.wait(lock, [this] { return finishing_ == 0; });
    world() = nullptr;
  }
  FakeMpi(const FakeMpi&) = delete;
  FakeMpi& operator=(const FakeMpi&) = delete;

  static const RondoMpiComponent& component(int rank) { return rank == 0 ? table<0>() : table<1>(); }

  /// What has been begun to be taken never comes whole.
  void freeze() {
    const std::lock_guard lock(mutex_);
    frozen_ = true;
  }
  /// Changes one byte of the next message that is taken.
  void damage(size_t byte) {
    const std::lock_guard lock(mutex_);
    damaged_ = static_cast<long>(byte);
  }
  /// Every process is rank 0 of 1, as where the launcher is no MPI's.
  void start_alone() { alone_ = true; }
  /// MPI_Finalize does not return, as where a rank does not come to it.
  void hold_finish() {
    const std::lock_guard lock(mutex_);
    finish_held_ = true;
  }
  /// Calls of it that have not returned.
  int finishing() {
    const std::lock_guard lock(mutex_);
    return finishing_;
  }
  int finished() {
    const std::lock_guard lock(mutex_);
    return finished_;
  }
  /// Messages from `from` that wait to be taken.
  size_t waiting(int from) {
    const std::lock_guard lock(mutex_);
    return lanes_[static_cast<size_t>(from)].size();
  }

 private:
  struct Sent {
    std::vector<std::byte> bytes;
    int tag = 0;
    bool done = false;
  };
  static FakeMpi*& world() {
    static FakeMpi* now = nullptr;
    return now;
  }

  int send(int rank, const void* bytes, size_t count, int tag, bool until_met, RondoMpiRequest* request) {
    const std::lock_guard lock(mutex_);
    auto message = std::make_shared<Sent>();
    message->bytes.resize(count);
    if (count > 0) std::memcpy(message->bytes.data(), bytes, count);
    message->tag = tag;
    message->done = !until_met;
    lanes_[static_cast<size_t>(rank)].push_back(message);
    return keep(message, request);
  }
  int receive(int rank, void* into, size_t capacity, int tag, int* found, size_t* count, RondoMpiRequest* request) {
    const std::lock_guard lock(mutex_);
    auto& lane = lanes_[static_cast<size_t>(1 - rank)];
    const auto next =
        std::find_if(lane.begin(), lane.end(), [&](const auto& message) { return tag < 0 || message->tag == tag; });
    *found = next != lane.end() ? 1 : 0;
    if (*found == 0) return 0;
    const std::shared_ptr<Sent> message = *next;
    lane.erase(next);
    *count = message->bytes.size();
    if (*count > capacity) return 0;
    if (damaged_ >= 0) message->bytes[static_cast<size_t>(damaged_)] ^= std::byte{1};
    damaged_ = -1;
    message->done = true;
    if (*count > 0) std::memcpy(into, message->bytes.data(), *count);
    auto arrival = std::make_shared<Sent>();
    arrival->done = !frozen_;
    return keep(arrival, request);
  }
  int keep(const std::shared_ptr<Sent>& message, RondoMpiRequest* request) {
    request->words[0] = ++last_request_;
    requests_[last_request_] = message;
    return 0;
  }
  int test(const RondoMpiRequest* request, int* done) {
    const std::lock_guard lock(mutex_);
    const auto found = requests_.find(request->words[0]);
    *done = found == requests_.end() || found->second->done ? 1 : 0;
    if (*done != 0) requests_.erase(request->words[0]);
    return 0;
  }

  template <int kRank>
  static const RondoMpiComponent& table() {
    static const RondoMpiComponent kTable{
        .interface_version = RONDO_MPI_INTERFACE,
        .bind = nullptr,
        .state = [](int* started, int* finished) { return *started = *finished = 0; },
        .version = [](char* text, size_t capacity) { std::snprintf(text, capacity, "Fake MPI 1.0"); },
        .describe = [](int, char* text, size_t capacity) { std::snprintf(text, capacity, "an error"); },
        .start = [] { return 0; },
        .finish =
            [] {
              FakeMpi& world = *FakeMpi::world();
              std::unique_lock lock(world.mutex_);
              ++world.finishing_;
              world.changed_.wait(lock, [&] { return !world.finish_held_; });
              --world.finishing_;
              ++world.finished_;
              world.changed_.notify_all();
              return 0;
            },
        .threads = [](int* any, int* here) { return *any = *here = 1, 0; },
        .duplicate = [](RondoMpiRequest* request) { return static_cast<int>(request->words[0] = 0); },
        .place =
            [](int* rank, int* size, int* tag) {
              *rank = world()->alone_ ? 0 : kRank;
              *size = world()->alone_ ? 1 : 2;
              return *tag = 32767, 0;
            },
        .send =
            [](const void* bytes, size_t count, int, int tag, int until_met, RondoMpiRequest* request) {
              return world()->send(kRank, bytes, count, tag, until_met != 0, request);
            },
        .receive =
            [](void* into, size_t capacity, int, int tag, int* found, size_t* count, RondoMpiRequest* request) {
              return world()->receive(kRank, into, capacity, tag, found, count, request);
            },
        .test = [](RondoMpiRequest* request, int* done) { return world()->test(request, done); }};
    return kTable;
  }

  std::mutex mutex_;
  std::array<std::deque<std::shared_ptr<Sent>>, 2> lanes_;  // by sender; shared with the requests
  std::map<long long, std::shared_ptr<Sent>> requests_;
  long long last_request_ = 0;
  long damaged_ = -1;
  bool frozen_ = false;
  bool finish_held_ = false, alone_ = false;
  int finishing_ = 0, finished_ = 0;
  std::condition_variable changed_;
};

}  // namespace rondo::test
