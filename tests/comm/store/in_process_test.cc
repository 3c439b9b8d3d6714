#include "tests/comm/store/store_rules.h"
#include "tests/support/clock_env.h"

namespace rondo::comm {
namespace {

using test::ClockEnv;

Stores one_store() { return {std::make_shared<ClockEnv>(), {in_process_store()}}; }

TEST(InProcessStore, ReturnsValuesInTheOrderAsked) { values_come_back_in_the_order_asked(one_store()); }
TEST(InProcessStore, LetsAGetWaitForTheLastKey) { a_get_waits_for_the_last_key(one_store()); }
TEST(InProcessStore, NamesTheMissingKeysInATimeout) { a_timeout_names_the_missing_keys_only(one_store()); }
TEST(InProcessStore, CountsEveryAdditionOnce) { additions_from_all_threads_count_once(one_store()); }
TEST(InProcessStore, LetsOneWinACompareAndSet) { compare_and_set_lets_one_win(one_store()); }
TEST(InProcessStore, RefusesBadRequestsAndGoesOn) { bad_requests_are_refused_and_the_store_goes_on(one_store()); }

TEST(InProcessStore, RefusesOneKeyTooMany) {
  const auto at = one_store();
  for (size_t i = 0; i < kMaxStoredKeys; ++i)
    RONDO_ASSERT_OK(store_set(*at.handles[0], *at.env, "key/" + std::to_string(i), "", in_seconds(5)));
  const Status full = store_set(*at.handles[0], *at.env, "straw", "", in_seconds(5));
  EXPECT_EQ(full.code(), Code::kResource);
  EXPECT_NE(full.message().find("straw"), std::string::npos);
  RONDO_ASSERT_OK(store_set(*at.handles[0], *at.env, "key/7", "changed", in_seconds(5)));
}

TEST(InProcessStore, KeepsACallAliveWithoutTheStore) {
  ClockEnv env;
  auto store = in_process_store();
  const auto call = store->start({StoreRequest::Kind::kGet, {"never"}, "", "", 0});
  store.reset();
  EXPECT_EQ(call->advance(env.now()), Progress::kBlocked);
}

}  // namespace
}  // namespace rondo::comm
