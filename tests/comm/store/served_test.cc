#include <gtest/gtest.h>
#include <malloc.h>

#include <cstring>
#include <functional>
#include <mutex>

#include "comm/sim/sim_env.h"
#include "comm/store/client.h"
#include "comm/store/messages.h"
#include "comm/store/service.h"
#include "comm/transport/framed_stream.h"
#include "tests/comm/store/store_rules.h"
#include "tests/support/descriptors.h"

namespace rondo::comm {
namespace {

/// A served store and what a client needs to reach it.
struct Served {
  std::shared_ptr<Env> env = real_env();
  JobId job = JobId::draw(*env);
  Secret secret = Secret::draw(*env);
  std::mutex mutex;
  std::vector<Status> refused;  // guarded by mutex
  std::unique_ptr<StoreServer> server;

  explicit Served(Address listen = {"tcp:127.0.0.1:0"}, bool same_user_only = false) {
    StoreServerOptions options;
    options.listen = std::move(listen);
    options.job = job;
    options.secret = secret;
    options.same_user_only = same_user_only;
    options.on_refused = [this](const Status& status) {
      const std::lock_guard lock(mutex);
      refused.push_back(status);
    };
    auto started = serve_store(env, std::move(options));
    EXPECT_TRUE(started.ok()) << started.status().text();
    if (started.ok()) server = *std::move(started);
  }
  StoreClientOptions client_options(int rank = 0) const {
    StoreClientOptions options;
    options.server = server->address();
    options.job = job;
    options.secret = secret;
    options.rank = rank;
    return options;
  }
  std::shared_ptr<Store> connect(int rank = 0) {
    auto store = connect_store(env, client_options(rank), in_seconds(5));
    EXPECT_TRUE(store.ok()) << store.status().text();
    return store.ok() ? *store : nullptr;
  }
  size_t refusals() {
    const std::lock_guard lock(mutex);
    return refused.size();
  }
  Stores stores() { return {env, {connect(0), connect(1)}}; }
};

Secret other_secret() {
  Digest bytes;
  bytes.fill(std::byte{1});
  return Secret(bytes);
}

TEST(ServedStore, ReturnsValuesInTheOrderAsked) {
  Served served;
  values_come_back_in_the_order_asked(served.stores());
}
TEST(ServedStore, LetsAGetWaitForTheLastKey) {
  Served served;
  a_get_waits_for_the_last_key(served.stores());
}
TEST(ServedStore, NamesTheMissingKeysInATimeout) {
  Served served;
  a_timeout_names_the_missing_keys_only(served.stores());
}
TEST(ServedStore, CountsEveryAdditionOnce) {
  Served served;
  additions_from_all_threads_count_once(served.stores());
}
TEST(ServedStore, LetsOneWinACompareAndSet) {
  Served served;
  compare_and_set_lets_one_win(served.stores());
}
TEST(ServedStore, RefusesBadRequestsAndGoesOn) {
  Served served;
  bad_requests_are_refused_and_the_store_goes_on(served.stores());
}

TEST(ServedStore, WorksOverUnixSocketsOfTheSameUser) {
  const Address place{"unix:@rondo-test-" + JobId::draw(*real_env()).hex()};
  Served served(place, true);
  ASSERT_NE(served.server, nullptr);
  auto options = served.client_options();
  options.same_user_only = true;
  auto store = connect_store(served.env, options, in_seconds(5));
  RONDO_ASSERT_OK(store);
  values_come_back_in_the_order_asked({served.env, {*store}});
  // TCP proves no user: such a client is turned away.
  Served tcp({"tcp:127.0.0.1:0"}, true);
  EXPECT_FALSE(connect_store(tcp.env, tcp.client_options(), in_seconds(0.2)).ok());
  EXPECT_GE(tcp.refusals(), 1u);
  auto suspicious = tcp.client_options();
  suspicious.same_user_only = true;
  EXPECT_FALSE(connect_store(tcp.env, suspicious, in_seconds(0.2)).ok());
}

TEST(ServedStore, IsOneStoreAtAllItsAddresses) {
  Served served;
  StoreServerOptions options;
  options.also_listen = {{"tcp:127.0.0.2:0"}, {"tcp:127.0.0.3:0"}};
  options.job = served.job;
  options.secret = served.secret;
  const auto server = serve_store(served.env, std::move(options));
  ASSERT_TRUE(server.ok()) << server.status().text();
  const std::vector<Address> places = (*server)->addresses();
  ASSERT_EQ(places.size(), 3u);
  EXPECT_EQ(places.front(), (*server)->address());
  for (size_t i = 0; i < places.size(); ++i) {
    StoreClientOptions client = served.client_options();
    client.server = places[i];
    const auto store = connect_store(served.env, client, in_seconds(5));
    ASSERT_TRUE(store.ok()) << places[i].text << ": " << store.status().text();
    const auto count = store_add(**store, *served.env, "visits", 1, in_seconds(5));
    ASSERT_TRUE(count.ok()) << count.status().text();
    EXPECT_EQ(*count, static_cast<int64_t>(i + 1));
  }
}

TEST(ServedStore, RefusesAWrongSecretOnBothSides) {
  Served served;
  auto options = served.client_options(3);
  options.secret = other_secret();
  const TimePoint before = Clock::now();
  const auto store = connect_store(served.env, options, in_seconds(10));
  EXPECT_EQ(store.status().code(), Code::kUnauthenticated) << store.status().text();
  EXPECT_LT(Clock::now() - before, std::chrono::seconds(5)) << "at once, not at the deadline";
  const Deadline deadline = in_seconds(5);
  while (served.refusals() == 0 && !deadline.passed(Clock::now())) std::this_thread::yield();
  {
    const std::lock_guard lock(served.mutex);
    ASSERT_FALSE(served.refused.empty());
    EXPECT_EQ(served.refused.front().code(), Code::kUnauthenticated);
  }
  options.secret = Secret();
  EXPECT_EQ(connect_store(served.env, options, in_seconds(1)).status().code(), Code::kUnauthenticated);
  StoreServerOptions none;
  EXPECT_EQ(serve_store(served.env, none).status().code(), Code::kUnauthenticated);
  EXPECT_NE(served.connect(), nullptr) << "the right secret still works";
}

TEST(ServedStore, RefusesAnotherJob) {
  Served served;
  auto options = served.client_options();
  options.job = JobId::draw(*served.env);
  EXPECT_EQ(connect_store(served.env, options, in_seconds(5)).status().code(), Code::kMismatch);
}

TEST(ServedStore, IsWaitedForUntilItIsThere) {
  auto env = real_env();
  const Address place{"unix:@rondo-test-" + JobId::draw(*env).hex()};
  StoreClientOptions options;
  options.server = place;
  options.secret = other_secret();
  options.rank = 4;
  const auto nobody = connect_store(env, options, in_seconds(0.05));
  EXPECT_EQ(nobody.status().code(), Code::kTimeout);
  EXPECT_EQ(nobody.status().where().rank, 4);
  EXPECT_NE(nobody.status().message().find(place.text), std::string::npos) << nobody.status().text();

  Result<std::shared_ptr<Store>> late = Status();
  std::thread dialer([&] { late = connect_store(env, options, in_seconds(10)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  StoreServerOptions serve;
  serve.listen = place;
  serve.secret = other_secret();
  const auto server = serve_store(env, serve);
  dialer.join();
  RONDO_ASSERT_OK(server);
  RONDO_ASSERT_OK(late);
}

TEST(ServedStore, EndsWaitingCallsWhenItsServerGoes) {
  Served served;
  const auto store = served.connect(2);
  const auto call = store->start({StoreRequest::Kind::kGet, {"never"}, "", "", 0});
  EXPECT_EQ(call->advance(Clock::now()), Progress::kBlocked);
  served.server->close();
  const Deadline deadline = in_seconds(5);
  Progress progress = Progress::kBlocked;
  while (progress == Progress::kBlocked && !deadline.passed(Clock::now())) {
    served.env->idle(call->wait_handles(), std::chrono::milliseconds(1));
    progress = call->advance(Clock::now());
  }
  ASSERT_EQ(progress, Progress::kFailed);
  EXPECT_EQ(call->status().code(), Code::kPeerLost) << call->status().text();
  EXPECT_EQ(call->status().where().rank, 2);
  EXPECT_FALSE(store_set(*store, *served.env, "k", "v", in_seconds(1)).ok());
}

/// Runs a service and its clients in one thread and in simulated time.
struct SimulatedStore {
  std::shared_ptr<SimWorld> world = SimWorld::make({.seed = 7, .most_bytes_per_call = 50});
  std::shared_ptr<Env> env = world->env("server");
  Secret secret = other_secret();
  std::unique_ptr<StoreService> service;

  SimulatedStore() {
    StoreServerOptions options;
    options.listen = {"sim:store"};
    options.secret = secret;
    auto opened = StoreService::open(env, options);
    EXPECT_TRUE(opened.ok()) << opened.status().text();
    service = *std::move(opened);
  }
  std::unique_ptr<StoreDial> dial(int rank) {
    StoreClientOptions options;
    options.server = {"sim:store"};
    options.secret = secret;
    options.rank = rank;
    return std::make_unique<StoreDial>(world->env("rank " + std::to_string(rank)), options);
  }
  bool until(const std::function<bool()>& condition) {
    for (int round = 0; round < 200'000; ++round) {
      if (condition()) return true;
      service->advance(world->now());
      world->advance(std::chrono::microseconds(10));
    }
    return false;
  }
  std::shared_ptr<Store> connect(int rank) {
    const auto way = dial(rank);
    EXPECT_TRUE(until([&] { return way->advance(world->now()) == Progress::kDone; })) << way->last_try().text();
    return way->take();
  }
};

TEST(StoreService, ServesManyFakeRanksInOneThreadAndSimulatedTime) {
  constexpr int kRanks = 64;
  SimulatedStore sim;
  std::vector<std::shared_ptr<Store>> stores;
  std::vector<std::unique_ptr<StoreCall>> gets;
  StoreRequest all{StoreRequest::Kind::kGet, {}, "", "", 0};
  for (int rank = 0; rank < kRanks; ++rank) all.keys.push_back("address/" + std::to_string(rank));
  for (int rank = 0; rank < kRanks; ++rank) stores.push_back(sim.connect(rank));
  for (const auto& store : stores) gets.push_back(store->start(all));
  std::vector<std::unique_ptr<StoreCall>> sets;
  for (size_t rank = 0; rank < kRanks; ++rank)
    sets.push_back(
        stores[rank]->start({StoreRequest::Kind::kSet, {all.keys[rank]}, "at " + std::to_string(rank), "", 0}));
  ASSERT_TRUE(sim.until([&] {
    bool all_done = true;
    for (auto& set : sets) all_done &= set->advance(sim.world->now()) == Progress::kDone;
    for (auto& get : gets) all_done &= get->advance(sim.world->now()) == Progress::kDone;
    return all_done;
  }));
  for (const auto& get : gets)
    for (size_t rank = 0; rank < kRanks; ++rank) ASSERT_EQ(get->values()[rank], "at " + std::to_string(rank));
  EXPECT_EQ(sim.service->parked_count(), 0u);
}

TEST(StoreService, DropsTheParkedRequestsOfAClientThatGoesAndOfACallThatIsDropped) {
  SimulatedStore sim;
  const StoreRequest never{StoreRequest::Kind::kGet, {"never"}, "", "", 0};
  auto kept = sim.connect(0), leaving = sim.connect(1), killed = sim.connect(2);
  auto call = kept->start(never), second = kept->start(never), third = leaving->start(never),
       fourth = killed->start(never);
  const auto pump = [&](StoreCall& of) { (void)of.advance(sim.world->now()); };
  ASSERT_TRUE(sim.until([&] {
    for (auto* each : {&call, &second, &third, &fourth}) pump(**each);
    return sim.service->parked_count() == 4;
  }));
  sim.world->kill("rank 2");
  EXPECT_TRUE(sim.until([&] { return sim.service->parked_count() == 3; }));
  call.reset();
  EXPECT_TRUE(sim.until([&] {
    pump(*second);
    return sim.service->parked_count() == 2;
  }));
  third.reset();
  leaving.reset();
  EXPECT_TRUE(sim.until([&] { return sim.service->parked_count() == 1 && sim.service->client_count() == 1; }));
}

/// A proven connection that says what it likes.
std::unique_ptr<FramedStream> raw_client(Served& served) {
  auto stream = served.env->dial(served.server->address());
  EXPECT_TRUE(stream.ok());
  HandshakeOptions how;
  how.mine.role = Role::kStore;
  how.mine.job = served.job;
  how.secret = served.secret;
  Handshake handshake(*served.env, *std::move(stream), how);
  const Deadline deadline = in_seconds(5);
  while (handshake.advance(Clock::now()) != Progress::kDone && !deadline.passed(Clock::now()))
    std::this_thread::yield();
  return std::make_unique<FramedStream>(handshake.take_stream(), FramedStreamOptions{.peer_name = "the store"});
}

/// What is allocated and not free: freed memory stays resident for a while, above all with the address sanitizer.
size_t heap_bytes() {
  const auto heap = ::mallinfo2();
  return heap.uordblks + heap.hblkhd;
}

TEST(ServedStore, OutlivesTwoHundredMalformedMessagesWithFlatMemory) {
  Served served;
  const auto good = served.connect();
  const auto bytes_of_round = [](int round) {
    auto bytes = encode(StoreMessage{{StoreRequest::Kind::kSet, {"key"}, std::string(100, 'v'), "", 0}, false});
    switch (round % 5) {
      case 0:
        bytes.resize(static_cast<size_t>(round) % bytes.size());
        break;  // cut short
      case 1:
        bytes.push_back(std::byte{0});
        break;  // one too many
      case 2:
        std::memset(bytes.data() + 4, 0xFF, 4);
        break;  // 2^32-1 keys
      case 3:
        std::memset(bytes.data() + 16, 0xFF, 4);
        break;  // a value of 2^32-1 bytes
      case 4:
        bytes[0] = static_cast<std::byte>(5 + round % 200);
        break;  // unknown kind
    }
    return bytes;
  };
  size_t before = 0;
  for (int round = 0; round < 200; ++round) {
    if (round == 20) before = heap_bytes();
    const auto client = raw_client(served);
    FrameHeader header;
    header.type = round % 7 == 6 ? FrameType::kPayload : FrameType::kStoreRequest;
    header.sequence = 1;
    RONDO_ASSERT_OK(client->send_owned(header, bytes_of_round(round)));
    const Deadline deadline = in_seconds(5);
    Progress progress = Progress::kBlocked;
    while (progress != Progress::kFailed && progress != Progress::kDone && !deadline.passed(Clock::now()))
      progress = client->advance(1 << 20);
    ASSERT_EQ(progress, Progress::kFailed) << "round " << round << ": the connection stays open";
  }
  EXPECT_LT(heap_bytes(), before + (8u << 20));
  EXPECT_EQ(served.refusals(), 200u);
  values_come_back_in_the_order_asked({served.env, {good}});
}

TEST(ServedStore, OutlivesGarbageBeforeTheProof) {
  Served served;
  for (int round = 0; round < 50; ++round) {
    auto stream = served.env->dial(served.server->address());
    RONDO_ASSERT_OK(stream);
    std::vector<std::byte> garbage(static_cast<size_t>(round) * 17);
    served.env->random(garbage);
    const Deadline deadline = in_seconds(1);
    while ((*stream)->write(garbage, {}).state == IoResult::State::kWouldBlock && !deadline.passed(Clock::now()))
      std::this_thread::yield();
  }
  values_come_back_in_the_order_asked({served.env, {served.connect()}});
}

TEST(ServedStore, LeavesNoDescriptorBehind) {
  const size_t before = test::open_descriptors();
  for (int round = 0; round < 50; ++round) {
    Served served;
    const auto store = served.connect();
    RONDO_ASSERT_OK(store_set(*store, *served.env, "k", "v", in_seconds(5)));
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST(StoreMessages, SurviveTheRoundTripAndRefuseEveryCut) {
  const StoreMessage sent{{StoreRequest::Kind::kCompareAndSet, {"key"}, std::string("v\0v", 3), "expected", -7}, false};
  const auto bytes = encode(sent);
  const auto got = decode_store_message(bytes);
  RONDO_ASSERT_OK(got);
  EXPECT_EQ(got->request.keys, sent.request.keys);
  EXPECT_EQ(got->request.value, sent.request.value);
  EXPECT_EQ(got->request.expected, sent.request.expected);
  EXPECT_EQ(got->request.amount, -7);
  for (size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_EQ(decode_store_message(std::span(bytes).first(cut)).status().code(), Code::kCorrupt) << cut;

  const auto reply = encode(StoreReply{{}, {"a", "", std::string(3, '\0')}});
  const auto replied = decode_store_reply(reply);
  RONDO_ASSERT_OK(replied);
  EXPECT_EQ(replied->values, (std::vector<std::string>{"a", "", std::string(3, '\0')}));
  for (size_t cut = 0; cut < reply.size(); ++cut)
    EXPECT_EQ(decode_store_reply(std::span(reply).first(cut)).status().code(), Code::kCorrupt) << cut;
  const auto error = decode_store_reply(encode(StoreReply{{Code::kResource, "full"}, {}}));
  RONDO_ASSERT_OK(error);
  EXPECT_EQ(error->status.code(), Code::kResource);
  EXPECT_EQ(error->status.message(), "full");
}

}  // namespace
}  // namespace rondo::comm
