/// The promises that every Store keeps, whatever carries it: run against the in-process and the served one.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "comm/store/content.h"
#include "rondo/comm/store.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {

inline Result<std::vector<std::string>> ask(Store& store, Env& env, StoreRequest request) {
  const auto call = store.start(std::move(request));
  const Deadline deadline = in_seconds(10);
  while (true) {
    const Progress progress = call->advance(env.now());
    if (progress == Progress::kDone) return call->values();
    if (progress == Progress::kFailed) return call->status();
    if (deadline.passed(env.now())) return Status(Code::kTimeout, "no answer in 10 s");
    if (progress == Progress::kBlocked) env.idle(call->wait_handles(), std::chrono::milliseconds(1));
  }
}

/// One or more handles to one and the same store.
struct Stores {
  std::shared_ptr<Env> env;
  std::vector<std::shared_ptr<Store>> handles;
};

inline void values_come_back_in_the_order_asked(const Stores& at) {
  Store &a = *at.handles.front(), &b = *at.handles.back();
  std::string bytes(256, '\0');
  for (int i = 0; i < 256; ++i) bytes[static_cast<size_t>(i)] = static_cast<char>(i);
  RONDO_ASSERT_OK(store_set(a, *at.env, "one", "1", in_seconds(5)));
  RONDO_ASSERT_OK(store_set(a, *at.env, "all bytes", bytes, in_seconds(5)));
  RONDO_ASSERT_OK(store_set(a, *at.env, "empty", "", in_seconds(5)));
  const auto got = store_get(b, *at.env, {"empty", "all bytes", "one", "one"}, in_seconds(5));
  RONDO_ASSERT_OK(got);
  EXPECT_EQ(*got, (std::vector<std::string>{"", bytes, "1", "1"}));
  const auto check = ask(b, *at.env, {StoreRequest::Kind::kCheck, {"one", "two", "empty"}, "", "", 0});
  RONDO_ASSERT_OK(check);
  EXPECT_EQ(*check, (std::vector<std::string>{"1", "0", "1"}));
}

inline void a_get_waits_for_the_last_key(const Stores& at) {
  StoreRequest get;
  get.kind = StoreRequest::Kind::kGet;
  get.keys = {"late/0", "late/1"};
  const auto call = at.handles.front()->start(get);
  EXPECT_NE(call->advance(at.env->now()), Progress::kDone);
  RONDO_ASSERT_OK(store_set(*at.handles.back(), *at.env, "late/1", "b", in_seconds(5)));
  EXPECT_NE(call->advance(at.env->now()), Progress::kDone);
  RONDO_ASSERT_OK(store_set(*at.handles.back(), *at.env, "late/0", "a", in_seconds(5)));
  const Deadline deadline = in_seconds(5);
  Progress progress = call->advance(at.env->now());
  while (progress != Progress::kDone && !deadline.passed(at.env->now())) {
    ASSERT_NE(progress, Progress::kFailed) << call->status().text();
    at.env->idle(call->wait_handles(), std::chrono::milliseconds(1));
    progress = call->advance(at.env->now());
  }
  ASSERT_EQ(progress, Progress::kDone);
  EXPECT_EQ(call->values(), (std::vector<std::string>{"a", "b"}));
}

inline void a_timeout_names_the_missing_keys_only(const Stores& at) {
  RONDO_ASSERT_OK(store_set(*at.handles.back(), *at.env, "group/0/address/0", "x", in_seconds(5)));
  const auto got = store_get(*at.handles.front(), *at.env,
                             {"group/0/address/0", "group/0/address/1", "group/0/address/2"}, in_seconds(0.05));
  ASSERT_EQ(got.status().code(), Code::kTimeout);
  const std::string& text = got.status().message();
  EXPECT_EQ(text.find("address/0"), std::string::npos) << text;
  EXPECT_NE(text.find("'group/0/address/1', 'group/0/address/2'"), std::string::npos) << text;
}

inline void additions_from_all_threads_count_once(const Stores& at) {
  constexpr int kThreads = 4, kEach = 50;
  std::vector<std::thread> threads;
  std::atomic<int64_t> sum_of_replies = 0;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      Store& store = *at.handles[static_cast<size_t>(t) % at.handles.size()];
      for (int i = 0; i < kEach; ++i) {
        const auto number = store_add(store, *at.env, "counter", 3, in_seconds(10));
        ASSERT_TRUE(number.ok()) << number.status().text();
        sum_of_replies += *number;
      }
    });
  for (auto& thread : threads) thread.join();
  const auto end = store_add(*at.handles.front(), *at.env, "counter", -1, in_seconds(5));
  RONDO_ASSERT_OK(end);
  constexpr int64_t kAll = kThreads * kEach;
  EXPECT_EQ(*end, 3 * kAll - 1);
  EXPECT_EQ(sum_of_replies, 3 * kAll * (kAll + 1) / 2) << "two callers saw the same number";
}

inline void compare_and_set_lets_one_win(const Stores& at) {
  const auto try_to_be = [&](Store& store, const std::string& expected, const std::string& value) {
    StoreRequest request;
    request.kind = StoreRequest::Kind::kCompareAndSet;
    request.keys = {"leader"};
    request.expected = expected;
    request.value = value;
    return ask(store, *at.env, std::move(request));
  };
  Store &a = *at.handles.front(), &b = *at.handles.back();
  EXPECT_EQ(*try_to_be(a, "", "first"), std::vector<std::string>{"first"});
  EXPECT_EQ(*try_to_be(b, "", "second"), std::vector<std::string>{"first"});
  EXPECT_EQ(*try_to_be(b, "first", "third"), std::vector<std::string>{"third"});
}

inline void bad_requests_are_refused_and_the_store_goes_on(const Stores& at) {
  Store& store = *at.handles.front();
  using Kind = StoreRequest::Kind;
  const std::vector<StoreRequest> bad{
      {Kind::kSet, {std::string(kMaxKeyBytes + 1, 'k')}, "v", "", 0},
      {Kind::kSet, {"k"}, std::string(kMaxValueBytes + 1, 'v'), "", 0},
      {Kind::kCompareAndSet, {"k"}, "", std::string(kMaxValueBytes + 1, 'v'), 0},
      {Kind::kSet, {}, "v", "", 0},
      {Kind::kSet, {"a", "b"}, "v", "", 0},
      {Kind::kGet, {}, "", "", 0},
      {Kind::kGet, {"a", ""}, "", "", 0},
      {Kind::kCheck, std::vector<std::string>(kMaxKeysPerRequest + 1, "k"), "", "", 0},
  };
  for (const auto& request : bad)
    EXPECT_EQ(ask(store, *at.env, request).status().code(), Code::kInvalidArgument) << request.keys.size() << " keys";
  RONDO_ASSERT_OK(store_set(store, *at.env, "word", "ten", in_seconds(5)));
  EXPECT_EQ(store_add(store, *at.env, "word", 1, in_seconds(5)).status().code(), Code::kInvalidArgument);
  RONDO_ASSERT_OK(store_set(store, *at.env, "most", std::to_string(INT64_MAX), in_seconds(5)));
  EXPECT_EQ(store_add(store, *at.env, "most", 1, in_seconds(5)).status().code(), Code::kInvalidArgument);
  // The largest of everything is taken.
  const std::string key(kMaxKeyBytes, 'k'), value(kMaxValueBytes, 'v');
  RONDO_ASSERT_OK(store_set(store, *at.env, key, value, in_seconds(5)));
  const auto got = store_get(store, *at.env, {key}, in_seconds(5));
  RONDO_ASSERT_OK(got);
  EXPECT_EQ(got->front(), value);
}

}  // namespace rondo::comm
