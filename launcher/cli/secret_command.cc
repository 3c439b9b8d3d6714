#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/cli/nearest_name.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"
#include "launcher/control/secret_file.h"

namespace rondo::launcher {
namespace {

const char* const kUsage = "rondo secret new [FILE]";
const char* const kPurpose = "The secret that hosts prove to each other when a job has several.";
const char* const kFooter =
    "new draws 256 bits and writes them to FILE (rondo.secret unless given) as 64 hexadecimal digits, readable by its\n"
    "owner only. It never writes over a file.\n\n"
    "examples:\n"
    "  rondo secret new                              rondo.secret in this folder\n"
    "  rondo secret new ~/.config/rondo-secret\n"
    "  export RONDO_SECRET_FILE=~/.config/rondo-secret\n\n"
    "exit codes:\n"
    "  0     written\n"
    "  2     wrong usage, or something of that name is there\n"
    "  3     the file cannot be written\n";

const std::vector<std::string> kVerbs{"new"};

struct SecretFlags {
  std::string verb, file = "rondo.secret";
};

void add_flags(CLI::App& app, SecretFlags& flags) {
  app.add_option("verb", flags.verb);
  app.add_option("file", flags.file);
  set_usage(app, kUsage);
}

}  // namespace

void describe_secret(const DescribeVerb& take) {
  CLI::App app(kPurpose, "rondo secret");
  SecretFlags flags;
  add_flags(app, flags);
  take(app);
}

int secret_command(const std::vector<std::string>& arguments) {
  CLI::App app(kPurpose, "rondo secret");
  app.allow_extras();
  app.footer(kFooter);
  SecretFlags flags;
  add_flags(app, flags);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  if (flags.verb.empty()) return usage_error(app, "what? There is the verb new");
  if (flags.verb != "new")
    return usage_error(app, "unknown verb '" + flags.verb + "'" + suggestion(flags.verb, kVerbs) + "; there is new");
  if (flags.file.empty()) return usage_error(app, "which file? An empty name is none");

  if (const comm::Status written = write_new_secret(flags.file); !written.ok()) {
    std::fprintf(stderr, "rondo secret: %s\n", written.message().c_str());
    return exit_code_of(written);
  }
  std::error_code error;
  const auto absolute = std::filesystem::absolute(flags.file, error);
  const std::string path = shell_quoted(error ? flags.file : absolute.string());
  std::printf(
      "wrote a new secret to %s (only you may read it)\n"
      "copy it to the same place on every host, for example: scp -p %s HOST:%s\n"
      "and there, as here, before `rondo run`:               export RONDO_SECRET_FILE=%s\n"
      "Whoever reads it can join and command your jobs.\n",
      path.c_str(), path.c_str(), path.c_str(), path.c_str());
  return kExitOk;
}

}  // namespace rondo::launcher
