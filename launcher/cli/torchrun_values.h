/// The values of torchrun's flags, read as torchrun reads them. Pure functions; errors name the flag.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "rondo/comm/status.h"

namespace rondo::launcher {

/// --redirects and --tee: which streams. 0 none, 1 stdout, 2 stderr, 3 both; or "0:1,1:3" by local rank.
struct Streams {
  bool output = false, errors = false;
};
comm::Result<std::vector<Streams>> parse_streams(const std::string& flag, const std::string& text, int ranks);

/// --local-ranks-filter: "0,2". Empty text: all ranks.
comm::Result<std::set<int>> parse_rank_set(const std::string& text, int ranks);

/// --show: "all", "first", "failed" (none of them) or ranks: "0,3-5".
comm::Result<std::set<int>> parse_shown(const std::string& text, int ranks);

/// --nnodes: N or MIN:MAX.
struct NodeCount {
  int least = 1, most = 1;
};
comm::Result<NodeCount> parse_nodes(const std::string& text);

/// --signals-to-handle: "SIGTERM,SIGINT". USR1 and USR2 are refused: they have a
/// meaning of their own (launcher/agent/signals.h).
comm::Result<std::vector<int>> parse_signals(const std::string& text);

/// --rdzv-endpoint: HOST or HOST:PORT; port 0: none named.
struct HostPort {
  std::string host;
  int port = 0;
};
comm::Result<HostPort> parse_host_port(const std::string& flag, const std::string& text);

/// A whole number in [least, most].
struct NumberRange {
  int64_t least, most;
};
comm::Result<int64_t> parse_number(const std::string& flag, const std::string& text, NumberRange range);

/// "64MiB", "1GB", "4096": bytes.
comm::Result<uint64_t> parse_bytes(const std::string& flag, const std::string& text);

}  // namespace rondo::launcher
