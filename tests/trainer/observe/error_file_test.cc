#include "trainer/observe/error_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace rondo::trainer {
namespace {

using nlohmann::json;
using std::chrono::system_clock;

const WorkerFailure kOwn{
    .code = "exception", .text = "uncaught \"no loss\"\nin step 3", .culprit_rank = 1, .exit_code = 134};

TEST(ErrorFile, HoldsWhatTorchrunReads) {
  const auto file =
      json::parse(error_file_text(kOwn, 1, system_clock::time_point(std::chrono::milliseconds(1'700'000'000'999))));
  const json& message = file.at("message");
  EXPECT_EQ(message.at("message"), kOwn.text);
  EXPECT_EQ(message.at("extraInfo").at("py_callstack"), kOwn.text) << "what torchrun prints under `traceback`";
  EXPECT_EQ(message.at("extraInfo").at("timestamp"), "1700000000") << "a text of whole seconds";
}

TEST(ErrorFile, OfAVictimIsLaterThanThatOfTheCulpritInTheSameSecond) {
  const system_clock::time_point now(std::chrono::seconds(1'700'000'000));
  const auto second = [&](int rank) {
    return json::parse(error_file_text(kOwn, rank, now))["message"]["extraInfo"]["timestamp"].get<std::string>();
  };
  EXPECT_LT(second(1), second(0));
}

TEST(ErrorFile, SurvivesBytesThatAreNoText) {
  WorkerFailure failure = kOwn;
  failure.text = "cut \xc3";
  EXPECT_TRUE(json::accept(error_file_text(failure, 1, system_clock::now())));
}

TEST(ErrorFile, IsWrittenWhereItWasAskedForAndNowhereElse) {
  const std::string path = testing::TempDir() + "rondo-error-" + std::to_string(::getpid()) + ".json";
  write_error_file(path, kOwn, 1);
  std::ifstream file(path);
  EXPECT_EQ(json::parse(file).at("message").at("message"), kOwn.text);
  std::filesystem::remove(path);
  write_error_file("", kOwn, 1);
  write_error_file("/not/there/error.json", kOwn, 1);  // the process goes on failing
}

}  // namespace
}  // namespace rondo::trainer
