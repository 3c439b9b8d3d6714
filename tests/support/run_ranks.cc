#include "tests/support/run_ranks.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "comm/group/endpoint_state.h"
#include "rondo/comm/endpoint.h"
#include "rondo/comm/env.h"
#include "rondo/comm/store.h"

namespace rondo::test {
namespace {

// Which ranks are back, and a way to wait for all of them.
class Roll {
 public:
  explicit Roll(int n) : back_(static_cast<size_t>(n)) {}
  void arrive(int rank) {
    const std::lock_guard lock(mutex_);
    back_[static_cast<size_t>(rank)] = true;
    changed_.notify_all();
  }
  /// The ranks that are not back by then, as text; empty when all are.
  std::string missing_after(std::chrono::seconds timeout) {
    std::unique_lock lock(mutex_);
    const auto all = [&] {
      for (const bool back : back_) {
        if (!back) return false;
      }
      return true;
    };
    if (changed_.wait_until(lock, std::chrono::system_clock::now() + timeout, all)) return {};
    std::string text;
    for (size_t rank = 0; rank < back_.size(); ++rank) {
      if (!back_[rank]) text += " " + std::to_string(rank);
    }
    return text;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> back_;
};

}  // namespace

void run_endpoints(int n, const std::function<void(comm::Endpoint&)>& body, RankOptions options) {
  const auto env = options.env ? options.env : comm::real_env();
  const auto store = comm::in_process_store();
  const comm::JobId job = comm::JobId::draw(*env);
  const comm::Secret secret = comm::Secret::draw(*env);
  std::shared_ptr<comm::InprocFabric> fabric;
  const bool share_a_process = options.mappings == RankOptions::Mappings::kShared;
  if (options.transport == comm::TransportKind::kInproc ||
      (options.transport == comm::TransportKind::kShm && share_a_process)) {
    auto made = comm::make_inproc_fabric(n);
    ASSERT_TRUE(made.ok()) << made.status().text();
    fabric = *made;
  }
  std::mutex endpoints_mutex;
  std::vector<std::shared_ptr<comm::EndpointState>> endpoints;  // to end those that do not come back
  Roll roll(n);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < n; ++rank) {
    threads.emplace_back([&, rank] {
      const testing::ScopedTrace trace(__FILE__, __LINE__, "rank " + std::to_string(rank));
      try {
        auto endpoint = comm::Endpoint::create({.at = {.rank = rank, .world_size = n},
                                                .local_rank = rank,
                                                .job = job,
                                                .secret = secret,
                                                .env = env,
                                                .store = store,
                                                .transport = options.transport,
                                                .fabric = fabric,
                                                .probe = options.probe,
                                                .data_thread = options.data_thread,
                                                .log = options.log});
        if (!endpoint.ok()) {
          ADD_FAILURE() << endpoint.status().text();
        } else {
          {
            const std::lock_guard lock(endpoints_mutex);
            endpoints.push_back(endpoint->state());
          }
          body(*endpoint);
        }
      } catch (const std::exception& error) {
        ADD_FAILURE() << "rank " << rank << " threw: " << error.what();
      }
      roll.arrive(rank);
    });
  }
  if (const std::string missing = roll.missing_after(options.deadline); !missing.empty()) {
    ADD_FAILURE() << "not back after " << options.deadline.count() << " s: rank" << missing;
    const std::lock_guard lock(endpoints_mutex);
    for (const auto& endpoint : endpoints) {
      if (const auto page = endpoint->page()) {
        page->post_abort({.code = comm::Code::kAborted, .text = "the test's deadline passed"});
      }
    }
    if (fabric) fabric->notify();
  }
  for (auto& thread : threads) thread.join();
}

void run_ranks(int n, const std::function<void(comm::Group&)>& body, RankOptions options) {
  run_endpoints(
      n,
      [&](comm::Endpoint& endpoint) {
        const comm::Deadline deadline = comm::after(options.deadline);
        auto group = comm::Group::create(endpoint, options.group, deadline);
        ASSERT_TRUE(group.ok()) << group.status().text();
        body(*group);
        // A body that failed leaves its peers behind; they end by themselves.
        if (!testing::Test::HasFailure()) {
          const comm::Status closed = endpoint.close(deadline);
          EXPECT_TRUE(closed.ok()) << closed.text();
        }
      },
      options);
}

}  // namespace rondo::test
