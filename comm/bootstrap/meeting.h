/// Where ranks that no agent started meet: rank 0 serves the store at a place that every rank can compute.
#pragma once

#include <string>
#include <string_view>

#include "rondo/comm/bootstrap.h"

namespace rondo::comm {

/// 128 bits that follow from `text` alone: every rank computes the same, without talking.
JobId job_of(std::string_view text);

/// All ranks on this host: a Unix socket named from the user and `place`. By peer credentials if no secret was given.
void meet_on_this_host(const std::string& place, Bootstrap& result);

/// Ranks on several hosts: at `port` of `address`, rank 0's host by number or name.
void meet_across_hosts(const std::string& address, int64_t port, Bootstrap& result);

/// The store's port beside MASTER_PORT, which belongs to the program.
Result<int64_t> port_beside(int64_t master_port);

/// kUnauthenticated if ranks on several hosts have no secret to know each other by.
Status need_secret_across_hosts(const Bootstrap& result);

/// Note [Jobs of MPICH's launcher]: its variables tell rank and size, but not which job. PMI_FD is one end of a socket
/// pair that the launcher's daemon on this host made, and the kernel knows who made it: all ranks of the job find the
/// same process there, and no other job has it. Nothing is said on that socket; it stays MPI's. Returns `bootstrap`
/// with the place to meet.
Result<Bootstrap> meet_by_launcher(const Bootstrap& bootstrap);

}  // namespace rondo::comm
