#include <CLI/CLI.hpp>
#include <cstdio>

#include "launcher/base/version.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"

namespace rondo::launcher {
namespace {

void add_flags(CLI::App& app, bool& json) {
  app.add_flag("--json", json, "one JSON object");
  set_usage(app, "rondo version [--json]");
}

}  // namespace

void describe_version(const DescribeVerb& take) {
  CLI::App app("What this build is.", "rondo version");
  bool json = false;
  add_flags(app, json);
  take(app);
}

int version_command(const std::vector<std::string>& arguments) {
  CLI::App app("What this build is.", "rondo version");
  app.allow_extras();
  bool json = false;
  add_flags(app, json);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  std::fputs(json ? version_json().c_str() : (version_line() + "\n").c_str(), stdout);
  return 0;
}

}  // namespace rondo::launcher
