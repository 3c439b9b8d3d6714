#include "launcher/cli/rendezvous_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <map>

#include "launcher/cli/nearest_name.h"
#include "launcher/cli/torchrun_values.h"

namespace rondo::launcher {
namespace {

using Notes = std::vector<std::string>;

constexpr int kEndpointPort = 29400, kMasterPort = 29500;  // torchrun's

comm::Status wrong(std::string message) { return {comm::Code::kInvalidArgument, std::move(message)}; }

comm::Status check_backend(const RunFlags& flags) {
  if (flags.rdzv_backend == "static" || flags.rdzv_backend == "c10d") return {};
  return wrong("--rdzv-backend " + flags.rdzv_backend +
               ": there are static and c10d, and both mean Rondo's own; hosts meet at --rdzv-endpoint");
}

/// --rdzv-conf: KEY=VALUE,...
comm::Result<std::map<std::string, std::string>> conf_of(const RunFlags& flags) {
  std::map<std::string, std::string> values;
  std::string rest = flags.rdzv_conf;
  while (!rest.empty()) {
    const std::string part = rest.substr(0, rest.find(','));
    rest.erase(0, std::min(rest.size(), part.size() + 1));
    const size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0)
      return wrong("--rdzv-conf " + flags.rdzv_conf + ": KEY=VALUE with commas between");
    values[part.substr(0, equals)] = part.substr(equals + 1);
  }
  return values;
}

// --- one host

/// --master-*, else a static endpoint, else --local-addr.
comm::Result<Meeting> on_one_host(const RunFlags& flags, const FlagSources& sources, Notes& notes) {
  const auto rank = parse_number("--node-rank", flags.node_rank, {0, 1 << 20});
  RONDO_TRY(rank);
  if (*rank != 0) return wrong("--node-rank " + flags.node_rank + ": there is one host (--nnodes), and its rank is 0");
  Meeting meeting{.hosts = {}, .master = {.address = flags.master_addr, .port = 0}};
  const auto port = parse_number("--master-port", flags.master_port, {0, 65535});
  RONDO_TRY(port);
  meeting.master.port = static_cast<int>(*port);
  const bool own_meeting = flags.standalone || flags.rdzv_backend != "static";
  const std::string why = flags.standalone ? " has no effect with --standalone"
                                           : " has no effect: on one host the launcher is where the ranks meet";
  if (flags.rdzv_backend != "static" && sources.given("rdzv-backend")) notes.push_back("--rdzv-backend" + why);
  if (sources.given("rdzv-endpoint")) {
    const auto endpoint = parse_host_port("--rdzv-endpoint", flags.rdzv_endpoint);
    RONDO_TRY(endpoint);
    if (own_meeting) {
      notes.push_back("--rdzv-endpoint" + why);
    } else {  // torchrun: a static endpoint stands for both
      if (!sources.given("master-addr")) meeting.master.address = endpoint->host;
      if (!sources.given("master-port")) meeting.master.port = endpoint->port;
    }
  }
  if (sources.given("local-addr") && !sources.given("master-addr") && own_meeting)
    meeting.master.address = flags.local_addr;
  if (sources.given("rdzv-conf")) {
    RONDO_TRY(conf_of(flags));
    notes.push_back("--rdzv-conf" + why);
  }
  return meeting;
}

// --- several hosts

comm::Result<HostPort> endpoint_of(const RunFlags& flags, const FlagSources& sources) {
  if (sources.given("rdzv-endpoint")) {
    auto endpoint = parse_host_port("--rdzv-endpoint", flags.rdzv_endpoint);
    RONDO_TRY(endpoint);
    if (endpoint->port == 0) endpoint->port = kEndpointPort;
    return endpoint;
  }
  if (!sources.given("master-addr"))
    return wrong("--nnodes " + flags.nnodes +
                 ": where do the hosts meet? --rdzv-endpoint HOST:PORT names an address of the first host, the same on "
                 "every host");
  const auto port = parse_number("--master-port", flags.master_port, {0, 65535});
  RONDO_TRY(port);
  return HostPort{.host = flags.master_addr, .port = *port == 0 ? kMasterPort : static_cast<int>(*port)};
}

comm::Status read_timeouts(const RunFlags& flags, const FlagSources& sources, JobRequest::Hosts& hosts, Notes& notes) {
  static const std::vector<std::string> kUnused{
      "timeout",   "read_timeout",        "close_timeout",         "is_host", "store_type", "rank", "use_libuv",
      "heartbeat", "keep_alive_interval", "keep_alive_max_attempt"};
  static const std::vector<std::string> kUsed{"join_timeout", "last_call_timeout"};
  const auto conf = conf_of(flags);
  RONDO_TRY(conf);
  for (const auto& [key, value] : *conf) {
    const bool join = key == "join_timeout";
    if (!join && key != "last_call_timeout") {
      if (std::ranges::find(kUnused, key) == kUnused.end())
        return wrong("--rdzv-conf " + flags.rdzv_conf + ": unknown key '" + key + "'" + suggestion(key, kUsed));
      notes.push_back("--rdzv-conf: " + key + " has no effect");
      continue;
    }
    const auto seconds = parse_number("--rdzv-conf: " + key, value, {1, 1'000'000});
    RONDO_TRY(seconds);
    (join ? hosts.join_timeout : hosts.last_call) = std::chrono::seconds(*seconds);
  }
  if (sources.given("local-addr"))
    notes.emplace_back(
        "--local-addr has no effect: a host is reached at every address of its interfaces; the variable "
        "RONDO_INTERFACE names those that the links of its ranks take");
  return {};
}

comm::Result<Meeting> on_several_hosts(const RunFlags& flags, const FlagSources& sources, const NodeCount& nodes,
                                       Notes& notes) {
  if (flags.standalone) return wrong("--standalone means one host, and --nnodes " + flags.nnodes + " more; leave one");
  const auto endpoint = endpoint_of(flags, sources);
  RONDO_TRY(endpoint);
  JobRequest::Hosts hosts{.least = nodes.least,
                          .most = nodes.most,
                          .node_rank = {},
                          .address = endpoint->host,
                          .port = endpoint->port,
                          .secret_file = flags.secret_file};
  if (sources.given("node-rank")) {
    const auto rank = parse_number("--node-rank", flags.node_rank, {0, nodes.most - 1});
    RONDO_TRY(rank);
    hosts.node_rank = static_cast<int>(*rank);
  }
  if (flags.secret_file.empty())
    return wrong("--nnodes " + flags.nnodes +
                 ": hosts trust each other by a secret, and there is none; make one with `rondo secret new FILE`, copy "
                 "it to every host, and name it with --secret-file FILE or RONDO_SECRET_FILE");
  RONDO_TRY(read_timeouts(flags, sources, hosts, notes));
  Meeting meeting{.hosts = hosts, .master = {.address = endpoint->host, .port = 0}};
  if (sources.given("rdzv-endpoint") && sources.given("master-addr")) meeting.master.address = flags.master_addr;
  if (sources.given("rdzv-endpoint") && sources.given("master-port")) {
    const auto port = parse_number("--master-port", flags.master_port, {0, 65535});
    RONDO_TRY(port);
    meeting.master.port = static_cast<int>(*port);
  }
  return meeting;
}

}  // namespace

void add_meeting_flags(CLI::App& app, RunFlags& flags, const char* group) {
  const auto text = [&](const char* name, std::string& to, const char* type, const char* purpose) {
    app.add_option(name, to, purpose)->type_name(type)->capture_default_str()->group(group);
  };
  text("--nnodes", flags.nnodes, "N|MIN:MAX", "hosts; MIN:MAX begins with MIN when no more come");
  text("--node-rank", flags.node_rank, "N", "of this host, from 0; without it in the order in which hosts come");
  text("--rdzv-endpoint", flags.rdzv_endpoint, "HOST:PORT",
       "where hosts meet: an address of the first one; on one host --master-addr and --master-port in one");
  text("--rdzv-id", flags.rdzv_id, "ID", "TORCHELASTIC_RUN_ID of the ranks; default: the job's id");
  text("--rdzv-conf", flags.rdzv_conf, "LIST",
       "join_timeout=600,last_call_timeout=30: seconds to wait for hosts, and for more than MIN");
  text("--secret-file", flags.secret_file, "FILE", "of several hosts: the job's secret, by `rondo secret new FILE`");
}

comm::Result<FlagSources> read_meeting(const std::vector<std::string>& typed, RunFlags& flags) {
  CLI::App app;
  add_meeting_flags(app, flags, "");
  auto sources = FlagSources::resolve(app, typed, "launch", [](const char* name) { return std::getenv(name); });
  RONDO_TRY(sources);
  if (!parse(app, sources->words()).go_on) return wrong("the flags about how hosts meet cannot be read");
  return sources;
}

comm::Result<Meeting> meeting_of(const RunFlags& flags, const FlagSources& sources, Notes& notes) {
  RONDO_TRY(check_backend(flags));
  const auto nodes = parse_nodes(flags.nnodes);
  RONDO_TRY(nodes);
  return nodes->most == 1 ? on_one_host(flags, sources, notes) : on_several_hosts(flags, sources, *nodes, notes);
}

}  // namespace rondo::launcher
