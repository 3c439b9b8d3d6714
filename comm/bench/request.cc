#include "comm/bench/request.h"

#include <CLI/CLI.hpp>
#include <cstdio>

namespace rondo::bench {
namespace {

void add_flags(CLI::App& app, Request& request) {
  app.add_option("operation", request.operation, "a collective, mismatch or create; --list names them");
  app.add_option("--sizes", request.sizes, "bytes of the buffer: 1KiB,64KiB,1MiB");
  app.add_option("--dtype", request.dtype, "element type")->capture_default_str();
  app.add_option("--wire", request.wire, "what float32 sums travel in: same, bf16 or fp16")->capture_default_str();
  app.add_option("--rounds", request.rounds, "sweeps over all sizes; default 9, with --quick 2");
  app.add_option("--first-round", request.first_round, "the number of the first round");
  app.add_option("--iterations", request.iterations, "timed calls of each size; default by size");
  app.add_flag("--quick", request.quick, "few sizes, few calls: shows that it works");
  app.add_flag("--unregistered", request.unregistered, "ordinary memory instead of the group's registered memory");
  app.add_option("--transport", request.transport, "shm, tcp, mpi or shm+mpi; default: as the job chooses");
  app.add_option("--algorithm", request.algorithm, "by name, e.g. ring; default: as the group chooses");
  app.add_option("--cpus", request.cpus, "cpu of each rank: 0,1; default: one core a rank");
  app.add_option("--json", request.json_file, "rank 0 writes a JSON object a line to FILE");
  app.add_flag("--choices", request.choices, "print what is chosen for which size, the reason, and what was measured");
  app.add_flag("--quiet", request.quiet, "print nothing when all is well");
  app.add_option("--variant", request.variant, "of a rival's driver: which of its settings");

  auto& place = request.place;
  app.add_option("--rank", place.rank, "this process's rank, when no launcher says it");
  app.add_option("--world-size", place.world_size, "how many ranks");
  app.add_option("--local-rank", place.local_rank, "its number on this host");
  app.add_option("--local-world-size", place.local_world_size, "ranks on this host");
  app.add_option("--endpoint", place.endpoint, "where rank 0 is met: unix:@my-job");
  app.add_option("--secret-file", place.secret_file, "a file of mode 0600 with the job's secret");
  app.add_option("--interface", place.interface, "network interface for links to other hosts");

  app.add_flag_callback(
      "--list", [&] { request.action = Request::Action::kList; }, "name the operations and leave");
  app.add_flag_callback(
      "--plan", [&] { request.action = Request::Action::kPlan; }, "check all this, say it and leave");
  app.add_option("--ranks", request.ranks, "with --plan: for how many ranks");
}

}  // namespace

ParsedRequest parse_request(int argc, const char* const* argv) {
  ParsedRequest parsed;
  CLI::App app("One rank of `rondo bench`, under any launcher.", "rondo bench");
  add_flags(app, parsed.request);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    parsed.go_on = false;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "rondo bench: %s\n", error.what());
    parsed.go_on = false;
    parsed.exit_code = 2;
  }
  return parsed;
}

}  // namespace rondo::bench
