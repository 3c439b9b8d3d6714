#include "comm/bootstrap/meeting.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "comm/base/hex.h"
#include "comm/bootstrap/variables.h"

namespace rondo::comm {
namespace {

/// Since when a process runs, in clock ticks: its number may be used again. 0 if that cannot be read.
uint64_t started_at(pid_t pid) {
  constexpr int kField = 20;  // of those behind the name, which may hold spaces
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  size_t at = name_end + 1;
  for (int field = 1; field < kField && at != std::string::npos; ++field) at = text.find(' ', at + 1);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at, nullptr, 10);
}

}  // namespace

JobId job_of(std::string_view text) {
  constexpr std::string_view kLabel = "rondo job id from the environment";
  Digest label{};
  std::copy_n(std::as_bytes(std::span(kLabel)).begin(), std::min(kLabel.size(), label.size()), label.begin());
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(text))};
  const Digest digest = hmac_sha256(Secret(label), parts);
  JobId job;
  std::copy_n(digest.begin(), job.bytes.size(), job.bytes.begin());
  return job;
}

void meet_on_this_host(const std::string& place, Bootstrap& result) {
  constexpr size_t kMostNameBytes = 80;  // a socket's name has 107
  std::string name = "rondo-" + std::to_string(::geteuid()) + "-" + place;
  if (name.size() > kMostNameBytes) name = "rondo-" + std::to_string(::geteuid()) + "-" + to_hex(job_of(place).bytes);
  result.store = Address{"unix:@" + name};
  result.serve_store = result.at.rank == 0;
  result.peer_credentials = result.secret_file.empty();
}

void meet_across_hosts(const std::string& address, int64_t port, Bootstrap& result) {
  const bool v6 = address.find(':') != std::string::npos;
  result.store = Address{"tcp:" + (v6 ? "[" + address + "]" : address) + ":" + std::to_string(port)};
  result.serve_store = result.at.rank == 0;
}

Result<int64_t> port_beside(int64_t master_port) {
  if (master_port == 65535)
    return bad_variable("MASTER_PORT", "65535", "at most 65534: the store is served one above it");
  return master_port + 1;
}

Status need_secret_across_hosts(const Bootstrap& result) {
  if (result.on_one_host() || !result.secret_file.empty()) return {};
  return {Code::kUnauthenticated,
          std::to_string(result.local_world_size) + " of " + std::to_string(result.at.world_size) +
              " ranks are on this host, so the ranks need a secret to know each other by: put 64 hexadecimal digits "
              "into a file that only you may read, on every host ((umask 077; openssl rand -hex 32 > rondo.secret)), "
              "and name it in RONDO_SECRET_FILE or --secret-file",
          {.operation = "bootstrap"}};
}

Result<Bootstrap> meet_by_launcher(const Bootstrap& bootstrap) {
  ucred maker{};
  socklen_t bytes = sizeof(maker);
  if (::getsockopt(bootstrap.pmi_descriptor, SOL_SOCKET, SO_PEERCRED, &maker, &bytes) != 0 || maker.pid <= 0)
    return bad_variable("PMI_FD", std::to_string(bootstrap.pmi_descriptor),
                        "a socket of MPICH's launcher, which tells its jobs apart; name a place to meet in "
                        "MASTER_ADDR and MASTER_PORT, the same for all ranks");
  Bootstrap result = bootstrap;
  result.pmi_descriptor = -1;
  const std::string place = "pmi-" + std::to_string(maker.pid) + "-" + std::to_string(started_at(maker.pid));
  result.job = job_of(place);
  meet_on_this_host(place, result);
  return result;
}

}  // namespace rondo::comm
