#include "rondo/comm/group.h"

#include <algorithm>

#include "comm/group/group_state.h"
#include "rondo/comm/algorithms.h"

namespace rondo::comm {

int Group::rank() const { return state_->at().rank; }
int Group::world_size() const { return state_->at().world_size; }
const std::string& Group::name() const { return state_->identity().options.name; }

std::string Group::description() const {
  const CallShape large{.goal = Goal::kAllReduce,
                        .world_size = world_size(),
                        .byte_count = size_t{1} << 20,
                        .hosts = state_->host_layout()};
  const Tuner& tuner = state_->tuner();
  const std::vector<int>& hosts = state_->identity().host_of_rank;
  const bool fused = state_->abilities().board && tuner.ruled(large).empty();
  const std::string_view algorithm = fused ? "push" : tuner.choose(large);
  const auto order = order_of(
      {.goal = Goal::kAllReduce, .algorithm = algorithm, .shape = {.at = state_->at(), .host_of_rank = hosts}});
  std::string links = transport();
  if (!hosts.empty() && links != comm::name(TransportKind::kInproc)) {
    const std::string across = state_->endpoint().options().mpi ? "mpi" : "tcp";
    links = (links == across ? "" : "shm inside and ") + across + " between " +
            std::to_string(1 + *std::ranges::max_element(hosts)) + " hosts";
  }
  return std::string(algorithm) + " over " + links + (order.ok() ? ", order " + std::string(comm::name(*order)) : "");
}

std::string Group::transport() const {
  const TransportKind kind = state_->endpoint().options().transport;
  const std::vector<int>& hosts = state_->identity().host_of_rank;
  if (kind != TransportKind::kShm || hosts.empty()) return std::string(comm::name(kind));
  const auto host_count = static_cast<size_t>(1 + *std::ranges::max_element(hosts));
  const std::string across = state_->endpoint().options().mpi ? "mpi" : "tcp";
  return host_count == hosts.size() ? across : "shm+" + across;
}

std::string Group::choices() const {
  const std::string shared = state_->abilities().board
                                 ? "where no rule below says otherwise: push (these ranks share memory: up to 2 KiB "
                                   "everybody reads all, above "
                                   "that the owner of a slice reads it from all, reduces it and stores it to all)\n"
                                 : "";
  const Tuner& tuner = state_->tuner();
  return shared + tuner.explain(world_size(), state_->host_layout()) +
         (state_->abilities().board ? tuner.explain_stores() : "");
}

std::vector<LinkStatistics> Group::links() const { return state_->links(); }

Result<Region> Group::allocate(size_t byte_count, const std::string& purpose) {
  return state_->allocate(byte_count, purpose);
}

void Group::abort(const std::string& reason) {
  const int me = state_->job_rank(rank());
  state_->end(Status(Code::kAborted, "rank " + std::to_string(me) + " aborted group \"" + name() + "\": " + reason,
                     {.rank = me, .peer = me}),
              me);
}

Status Group::close(Deadline deadline) { return state_->close(deadline); }

}  // namespace rondo::comm
