#include "comm/bootstrap/mpi_meeting.h"

#include <strings.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <sstream>
#include <utility>

#include "comm/base/hex.h"
#include "comm/bootstrap/place.h"
#include "comm/mpi/mpi.h"

namespace rondo::comm {
namespace {

constexpr int kTag = 0;
constexpr auto kNap = std::chrono::microseconds(100);
constexpr std::string_view kNews = "rondo-news-1", kRefusal = "rondo-refusal-1 ";

MpiFamily family_of(Source launcher) {
  if (launcher == Source::kOpenMpi) return MpiFamily::kOpenMpi;
  return launcher == Source::kPmi ? MpiFamily::kMpich : MpiFamily::kEither;
}

std::string numbers(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (const int rank : ranks) text += (rank == ranks.front() ? "" : ", ") + std::to_string(rank);
  return text;
}

/// To all others; kTimeout names those that did not take it.
Status tell(Mpi& mpi, Env& env, Position at, const MpiNews& news, Deadline deadline) {
  std::string text = encode(news);
  std::vector<std::pair<int, Mpi::MessagePtr>> waiting;
  Status status;
  for (int rank = 1; rank < at.world_size && status.ok(); ++rank) {
    waiting.emplace_back(rank, mpi.make_message(text.size()));
    Mpi::Message& message = *waiting.back().second;
    message.byte_count = text.size();
    std::memcpy(message.memory.get(), text.data(), text.size());
    status = mpi.send(message, {.rank = rank, .tag = kTag}, Mpi::Until::kMet);
  }
  ::explicit_bzero(text.data(), text.size());
  while (status.ok() && !waiting.empty()) {
    for (auto& [rank, message] : waiting) {
      const auto done = mpi.complete(*message);
      if (!done.ok()) status = done.status().at({.peer = rank});
      if (!done.ok() || !*done) continue;
      ::explicit_bzero(message->memory.get(), message->byte_count);
      mpi.reuse(std::move(message));
    }
    std::erase_if(waiting, [](const auto& each) { return each.second == nullptr; });
    if (status.ok() && !waiting.empty() && deadline.passed(env.now())) {
      std::vector<int> absent;
      for (const auto& [rank, message] : waiting) absent.push_back(rank);
      status = Status(Code::kTimeout,
                      "meeting by MPI: " + numbers(absent) + (absent.size() == 1 ? " has" : " have") +
                          " not come; likely stopped, or still busy before joining the job",
                      {.peer = absent.front()});
    }
    if (status.ok() && !waiting.empty()) env.idle({}, kNap);
  }
  for (auto& [rank, message] : waiting)
    if (message != nullptr) mpi.leave(std::move(message));
  return status;
}

/// From rank 0.
Result<MpiNews> hear(Mpi& mpi, Env& env, Deadline deadline) {
  Mpi::MessagePtr message = mpi.make_message();
  bool found = false, done = false;
  while (!done) {
    const auto moved = found ? mpi.complete(*message) : mpi.take(*message, {.rank = 0, .tag = kTag});
    if (!moved.ok()) return moved.status().at({.peer = 0});
    (found ? done : found) = *moved;
    if (*moved) continue;
    if (deadline.passed(env.now())) {
      if (found) mpi.leave(std::move(message));
      return Status(Code::kTimeout,
                    "meeting by MPI: rank 0 said nothing of the job; likely it is stopped, or still busy before "
                    "joining it",
                    {.peer = 0});
    }
    env.idle({}, kNap);
  }
  const std::span<std::byte> bytes = message->bytes();
  auto news = decode_mpi_news({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  ::explicit_bzero(bytes.data(), bytes.size());
  mpi.reuse(std::move(message));
  if (!news.ok()) return news.status().at({.peer = 0});
  return news;
}

Result<std::unique_ptr<StoreServer>> serve(const Bootstrap& bootstrap, const std::shared_ptr<Env>& env,
                                           const MpiNews& news, const LogSink& log) {
  std::vector<Address> places;
  if (bootstrap.store) {
    const auto place = resolve(*bootstrap.store);
    RONDO_TRY(place);
    places.push_back(*place);
  } else {
    auto all = data_addresses(bootstrap, *env);
    RONDO_TRY(all);
    places = *std::move(all);
  }
  StoreServerOptions options;
  options.listen = places.front();
  options.also_listen.assign(places.begin() + 1, places.end());
  options.job = news.job;
  options.secret = news.secret;
  if (log)
    options.on_refused = [log](const Status& why) {
      log(LogLevel::kWarning, "the store refused a connection: " + why.text());
    };
  return serve_store(env, std::move(options));
}

/// Rank 0's host may have addresses that this one does not reach: each gets a moment in turn, a longer one each time.
Result<std::shared_ptr<Store>> connect(const std::shared_ptr<Env>& env, const MpiNews& news, int rank,
                                       Deadline deadline) {
  StoreClientOptions options;
  options.job = news.job;
  options.secret = news.secret;
  options.rank = rank;
  options.server_rank = 0;
  Duration moment = std::chrono::milliseconds(500);
  std::string tried;
  for (;; moment *= 2) {
    tried.clear();
    for (const Address& address : news.store) {
      options.server = address;
      const TimePoint now = env->now();
      const bool alone = news.store.size() == 1;
      auto store = connect_store(env, options, alone ? deadline : Deadline{std::min(deadline.at, now + moment)});
      if (store.ok() || alone) return store;
      tried += (tried.empty() ? "" : "; ") + store.status().message();
    }
    if (deadline.passed(env->now()))
      return Status(Code::kTimeout, "rank 0's store is reached at none of its addresses: " + tried, {.peer = 0});
  }
}

}  // namespace

std::string encode(const MpiNews& news) {
  if (!news.refusal.empty()) return std::string(kRefusal) + news.refusal;
  std::string text = std::string(kNews) + " " + news.job.hex() + " " + to_hex(news.secret.bytes());
  for (const Address& address : news.store) text += " " + address.text;
  return text;
}

Result<MpiNews> decode_mpi_news(std::string_view text) {
  MpiNews news;
  if (text.starts_with(kRefusal)) {
    news.refusal = text.substr(kRefusal.size());
    return news;
  }
  std::istringstream words{std::string(text)};
  std::string magic, job, secret, address;
  words >> magic >> job >> secret;
  while (words >> address) news.store.push_back({address});
  const auto id = JobId::parse(job);
  Digest bytes{};
  if (magic != kNews || !id.ok() || !from_hex(secret, bytes) || news.store.empty())
    return Status(Code::kCorrupt, "what rank 0 said by MPI cannot be read; do all ranks run the same build of Rondo?");
  news.job = *id;
  news.secret = Secret(bytes);
  return news;
}

Result<MetByMpi> meet_by_mpi(const Bootstrap& bootstrap, const std::shared_ptr<Env>& env, const Secret& given,
                             const LogSink& log, Deadline deadline) {
  auto mpi = Mpi::open(
      env, {.family = family_of(bootstrap.source), .library = bootstrap.mpi_library, .at = bootstrap.at}, deadline);
  if (!mpi.ok()) {
    const Status why = mpi.status();
    if (bootstrap.links_by_mpi) return Status(why.code(), "links cannot go by MPI: " + why.message(), why.where());
    const char* const without = why.code() == Code::kUnsupported
                                    ? ". Or do without: on all ranks name rank 0's host in MASTER_ADDR, a free port "
                                      "there in MASTER_PORT, and a file with a secret in RONDO_SECRET_FILE"
                                    : "";
    return Status(why.code(), "ranks on several hosts cannot meet by MPI: " + why.message() + without, why.where());
  }
  if (bootstrap.links_by_mpi) RONDO_TRY((*mpi)->allow_any_thread());
  MetByMpi met;
  MpiNews news;
  if (bootstrap.at.rank == 0) {
    news.job = JobId::draw(*env);
    news.secret = given.empty() ? Secret::draw(*env) : given;
    auto server = serve(bootstrap, env, news, log);
    const Status served = server.status();
    if (served.ok()) {
      met.server = *std::move(server);
      news.store = met.server->addresses();
    } else {
      news.refusal = served.message();
    }
    RONDO_TRY(tell(**mpi, *env, bootstrap.at, news, deadline));
    RONDO_TRY(served);
    if (log) log(LogLevel::kInfo, "met by MPI: " + (*mpi)->version());
  } else {
    auto heard = hear(**mpi, *env, deadline);
    RONDO_TRY(heard);
    news = *std::move(heard);
    if (!news.refusal.empty())
      return Status(Code::kIo, "rank 0 cannot serve the job's store: " + news.refusal, {.peer = 0});
  }
  // A job whose links do not go by MPI needs no more of it.
  if (bootstrap.links_by_mpi) {
    met.mpi = *mpi;
  } else {
    RONDO_TRY((*mpi)->close(deadline, Mpi::Ending::kTogether));
  }
  met.job = news.job;
  met.secret = news.secret;
  auto store = connect(env, news, bootstrap.at.rank, deadline);
  RONDO_TRY(store);
  met.store = *std::move(store);
  return met;
}

}  // namespace rondo::comm
