/// Ranks that an MPI's launcher started on several hosts meet by that MPI: rank 0 tells all others the job's id, its
/// secret and where its store is. The secret is trusted as far as MPI is; it is never in arguments or environment.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rondo/comm/bootstrap.h"
#include "rondo/comm/store.h"

namespace rondo::comm {

class Mpi;

/// What rank 0 tells. `refusal`: why the job cannot start, for all to say; then nothing else counts.
struct MpiNews {
  JobId job;
  Secret secret;
  std::vector<Address> store;  // all addresses of rank 0's store
  std::string refusal;
};
std::string encode(const MpiNews& news);
/// kCorrupt for a text that encode() does not make.
Result<MpiNews> decode_mpi_news(std::string_view text);

/// Everything that join() needs to know by then.
struct MetByMpi {
  std::shared_ptr<Mpi> mpi;  // null unless links go by it: else it is finished already
  JobId job;
  Secret secret;
  std::unique_ptr<StoreServer> server;  // of rank 0
  std::shared_ptr<Store> store;
};
/// `given`: the secret of the user's file on rank 0, or empty: one is drawn. kTimeout names the ranks that did not
/// come.
Result<MetByMpi> meet_by_mpi(const Bootstrap& bootstrap, const std::shared_ptr<Env>& env, const Secret& given,
                             const LogSink& log, Deadline deadline);

}  // namespace rondo::comm
