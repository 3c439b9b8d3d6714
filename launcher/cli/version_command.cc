#include <CLI/CLI.hpp>
#include <cstdio>

#include "launcher/base/version.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"

namespace rondo::launcher {

int version_command(const std::vector<std::string>& arguments) {
  CLI::App app("What this build is.", "rondo version");
  app.allow_extras();
  bool json = false;
  app.add_flag("--json", json, "one JSON object");
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  std::fputs(json ? version_json().c_str() : (version_line() + "\n").c_str(), stdout);
  return 0;
}

}  // namespace rondo::launcher
