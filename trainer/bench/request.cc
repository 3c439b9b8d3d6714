#include "trainer/bench/request.h"

#include <cstdlib>
#include <map>

#include "rondo/error.h"

namespace rondo::trainer {
namespace {

int64_t number(const std::string& flag, const std::string& text) {
  char* end = nullptr;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < 1 || value > 1'000'000)
    throw Error(flag + " needs a number from 1 to 1000000, not \"" + text + "\"", ExitCode::kUsage);
  return value;
}

}  // namespace

std::string bench_usage() {
  return "usage: rondo-train-bench ranks|one|memory-plain|memory-wrapped|first-step [--model mlp|cnn|resnet18|gpt]\n"
         "                         [--batch N] [--blocks N] [--steps N] [--warm-up N] [--round N] [--json FILE]\n"
         "One rank of `rondo bench train` or `rondo bench start`, which starts it; by hand: with torchrun's variables, "
         "once a rank.\n";
}

BenchRequest parse_bench_request(int argc, char** argv) {
  static const std::map<std::string, Study> studies{{"ranks", Study::kRanks},
                                                    {"one", Study::kOneWorker},
                                                    {"memory-plain", Study::kMemoryPlain},
                                                    {"memory-wrapped", Study::kMemoryWrapped},
                                                    {"first-step", Study::kFirstStep}};
  BenchRequest request;
  const auto study = argc > 1 ? studies.find(argv[1]) : studies.end();
  if (study == studies.end()) throw Error("what to measure?\n" + bench_usage(), ExitCode::kUsage);
  request.study = study->second;
  for (int i = 2; i < argc; i += 2) {
    const std::string flag = argv[i];
    if (i + 1 == argc) throw Error(flag + " needs a value", ExitCode::kUsage);
    const std::string value = argv[i + 1];
    if (flag == "--model") {
      request.model = value;
    } else if (flag == "--batch") {
      request.batch = number(flag, value);
    } else if (flag == "--blocks") {
      request.blocks = static_cast<int>(number(flag, value));
    } else if (flag == "--steps") {
      request.steps = static_cast<int>(number(flag, value));
    } else if (flag == "--warm-up") {
      request.warm_up = static_cast<int>(number(flag, value));
    } else if (flag == "--round") {
      request.round = static_cast<int>(number(flag, value));
    } else if (flag == "--json") {
      request.json_file = value;
    } else {
      throw Error("unknown flag " + flag + "\n" + bench_usage(), ExitCode::kUsage);
    }
  }
  return request;
}

}  // namespace rondo::trainer
