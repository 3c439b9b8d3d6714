/// How the processes of one host come to map the same job page: the lowest rank formats it in a memfd and hands its
/// descriptor out over an abstract Unix socket with a random name, which the store tells to the others.
///
///   lowest rank                               each other rank of the host
///   formats the page, listens,
///   store[page/G/R] := socket name      ->    reads it, connects, says who it is (64 bytes)
///   checks the user id, passes the page ->    checks the user id, size and seals, maps it
///   all have it: closes the socket; nothing is left
///
/// A state machine: advance() never blocks, so many ranks can run in one thread. Sockets are real, no Env is asked for
/// them: a descriptor passes through nothing else. Threading: one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/watch/job_page.h"
#include "rondo/comm/env.h"
#include "rondo/comm/status.h"
#include "rondo/comm/store.h"

namespace rondo::comm {

struct PageShareOptions {
  int rank = 0;
  int world_size = 1;
  uint32_t generation = 0;
  std::vector<int> local_ranks;  // of this host, this one included; empty = all ranks of the job
};

class PageShare {
 public:
  PageShare(std::shared_ptr<Env> env, std::shared_ptr<Store> store, PageShareOptions options);
  ~PageShare();
  PageShare(const PageShare&) = delete;
  PageShare& operator=(const PageShare&) = delete;

  Progress advance(TimePoint now);
  const Status& status() const { return status_; }
  std::vector<WaitHandle> wait_handles() const;
  /// The page as soon as it is mapped here; on the lowest rank that is before the others have it. Else null.
  std::shared_ptr<JobPage> page() const { return page_; }
  /// After kDone: the page, mapped here.
  std::shared_ptr<JobPage> take() { return std::move(page_); }
  /// The ranks that this one still waits for: on the lowest rank those without the page, on others the lowest rank.
  std::vector<int> absent() const;

 private:
  enum class Step : uint8_t { kStart, kPublish, kServe, kLookUp, kConnect, kAsk, kReceive, kDone, kFailed };
  struct Guest;

  bool serving() const { return options_.rank == options_.local_ranks.front(); }
  std::string key() const;
  Progress step(TimePoint now);
  Progress start();
  Progress serve();
  bool welcome(Guest& guest);
  Progress connect();
  Progress ask();
  Progress receive();
  Progress fail(Code code, const std::string& message);
  void close_sockets();

  const std::shared_ptr<Env> env_;
  const std::shared_ptr<Store> store_;
  PageShareOptions options_;
  Step step_ = Step::kStart;
  Status status_;
  std::shared_ptr<JobPage> page_;  // shared with whoever takes it
  std::unique_ptr<StoreCall> call_;
  std::string socket_name_;    // without the leading zero byte
  int socket_ = -1;            // the lowest rank's listener, another's connection
  std::vector<Guest> guests_;  // connected to the lowest rank, not yet served
  std::vector<int> absent_;    // see absent()
};

}  // namespace rondo::comm
