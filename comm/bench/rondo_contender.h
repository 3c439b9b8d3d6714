/// Rondo itself as a contender: one rank of a job, and its group.
#pragma once

#include <memory>

#include "comm/bench/contender.h"
#include "comm/bench/ordinary_memory.h"
#include "comm/bench/plan.h"
#include "rondo/comm/bootstrap.h"
#include "rondo/comm/group.h"

namespace rondo::bench {

/// This process's place in its job and the transport that was asked for, before anything is opened.
comm::Result<comm::Bootstrap> find_place(const Request& request);

/// Joins the job. `wrap_store`, when given, is put around the job's store.
using WrapStore = std::function<std::shared_ptr<comm::Store>(std::shared_ptr<comm::Store>)>;
comm::Result<comm::Joined> join_job(const comm::Bootstrap& place, const Request& request, const WrapStore& wrap_store);

class RondoContender : public Contender {
 public:
  struct Options {
    std::string algorithm;
    Label::Memory memory = Label::Memory::kRegistered;
  };
  /// Forms the group. `endpoint` outlives this object.
  static comm::Result<std::unique_ptr<RondoContender>> create(const comm::Endpoint& endpoint, const Options& options);

  comm::Position at() const override;
  Label label() const override;
  comm::Result<Ticket> share(const Ticket& ticket) override;
  comm::Result<std::span<std::byte>> memory(size_t byte_count) override;
  comm::Status prepare(const Collective& collective, const Call& call) override;
  comm::Status run(const Collective& collective, const Call& call) override;

  /// What the group says of itself.
  std::string description() const { return group_.description(); }
  std::string choices() const { return group_.choices(); }
  comm::Status close(comm::Deadline deadline) { return group_.close(deadline); }

 private:
  RondoContender(const comm::Endpoint& endpoint, comm::Group group, Label::Memory memory)
      : endpoint_(endpoint), group_(std::move(group)), kind_(memory) {}

  const comm::Endpoint& endpoint_;
  comm::Group group_;
  const Label::Memory kind_;
  comm::Region region_;
  OrdinaryMemory ordinary_;
};

}  // namespace rondo::bench
