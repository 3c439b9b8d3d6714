/// Wrong usage: exit code 2, one clear sentence, nothing started and nothing written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct Mistake {
  std::vector<std::string> arguments;
  std::string sentence;
};

void expect_refused(const std::vector<Mistake>& mistakes) {
  for (const Mistake& mistake : mistakes) {
    const TemporaryFolder folder;
    const Outcome run = run_rondo(mistake.arguments, {.folder = folder.path()});
    EXPECT_EQ(run.exit_code, 2) << mistake.sentence << "\n" << run.errors;
    EXPECT_THAT(run.errors, HasSubstr(mistake.sentence));
    EXPECT_EQ(run.output, "");
    EXPECT_TRUE(fs::is_empty(folder.path())) << "left something behind: " << mistake.sentence;
  }
}

TEST(Usage, OfAnUnknownVerbOrFlagNamesTheNearest) {
  expect_refused({
      {{"rnu", "true"}, "unknown verb 'rnu' (did you mean 'run'?)"},
      {{"tarin"}, "unknown verb 'tarin' (did you mean 'train'?)"},
      {{"quantum"}, "unknown verb 'quantum'; `rondo --help` lists them"},
      {{"--hlep"}, "unknown flag '--hlep' (did you mean '--help'?)"},
      {{"run", "--nproc-per-nod", "2", "true"}, "unknown flag '--nproc-per-nod' (did you mean '--nproc-per-node'?)"},
      {{"run", "--nproc_per_nodes=2", "true"}, "unknown flag '--nproc_per_nodes' (did you mean '--nproc-per-node'?)"},
      {{"run", "--rundir", "x", "true"}, "unknown flag '--rundir' (did you mean '--run-dir'?)"},
      {{"train", "fmnist-cnn", "--evalonly"}, "unknown flag '--evalonly' (did you mean '--eval-only'?)"},
      {{"bnech", "all_reduce"}, "unknown verb 'bnech' (did you mean 'bench'?)"},
      {{"bench", "all_reduce", "--agianst", "gloo"}, "unknown flag '--agianst' (did you mean '--against'?)"},
      {{"bench", "all_reduc"}, "unknown operation 'all_reduc' (did you mean 'all_reduce'?); `rondo bench` lists them"},
      {{"version", "--jsno"}, "unknown flag '--jsno' (did you mean '--json'?)"},
  });
}

TEST(Usage, OfAWrongRankCountSaysWhatIsRight) {
  for (const char* count : {"0", "-1", "two", "2x", "", "99999999999", "4097"}) {
    expect_refused({{{"run", std::string("--nproc-per-node=") + count, "true"}, "--nproc-per-node"}});
  }
  expect_refused({
      {{"run", "--nproc-per-node", "0", "true"},
       "--nproc-per-node 0: the number of ranks is a whole number from 1 to 4096"},
      {{"train", "fmnist-cnn", "--nproc-per-node", "0"}, "--nproc-per-node 0: the number of ranks"},
      {{"run", "--grace", "-3", "true"}, "--grace"},
  });
}

TEST(Usage, OfAProgramThatCannotRunSaysWhy) {
  expect_refused({
      {{"run"}, "which program?"},
      {{"run", "--nproc-per-node", "2"}, "which program?"},
      {{"run", "./not-there"}, "cannot run './not-there': no such file"},
      {{"run", "surely-no-such-program"}, "cannot run 'surely-no-such-program': no such program in PATH"},
      {{"run", "/etc/passwd"}, "cannot run '/etc/passwd': it is not executable"},
      {{"run", "/etc"}, "cannot run '/etc': it is a folder"},
  });
}

TEST(Usage, OfTrainSaysHowSettingsAreWritten) {
  expect_refused({
      {{"train", "epochs=1"}, "which recipe?"},
      {{"train", "fmnist-cnn", "epochs"}, "'epochs' is no setting: settings are written key=value"},
  });
}

TEST(Usage, OfBenchNamesTheFlagAndWhatItTakes) {
  expect_refused({
      {{"bench", "all_reduce", "--quick", "--sizes", "1KB"}, "rondo bench: size '1KB': expected a number and a unit"},
      {{"bench", "all_reduce", "--quick", "--dtype", "f32"}, "rondo bench: --dtype f32: there are float32, float64"},
      {{"bench", "all_reduce", "--quick", "--transport", "pigeon"},
       "rondo bench: --transport pigeon: between processes"},
      {{"bench", "all_reduce", "--quick", "--iterations", "many"}, "--iterations"},
      {{"bench", "all_reduce", "--quick", "-n", "0"}, "--nproc-per-node 0"},
      {{"bench", "all_gather", "--quick", "--wire", "bf16"}, "only sums of float32 travel in another type"},
      {{"bench", "reduce_scatter", "--quick", "--against", "gloo"}, "none of these rivals has reduce_scatter"},
      {{"bench", "barrier", "--quick", "--sizes", "1KiB"}, "a barrier has no size"},
      {{"bench", "mismatch", "--quick", "-n", "1"}, "a mismatch needs two ranks at least"},
      {{"bench", "mismatch", "--quick", "--against", "gloo"}, "only collectives have rivals, and mismatch is none"},
      {{"bench", "all_reduce", "--against", "gloo,opnmpi"}, "unknown rival 'opnmpi' (did you mean 'openmpi'?)"},
      {{"bench", "all_reduce", "all_gather"}, "unexpected argument 'all_gather'"},
  });
}

TEST(Usage, OfCkptNamesTheVerbAndWhatIsMissing) {
  expect_refused({
      {{"ckpt"}, "rondo ckpt: what? There are the verbs ls, show, verify, export"},
      {{"ckpt", "verfiy", "latest"}, "unknown verb 'verfiy' (did you mean 'verify'?)"},
      {{"ckpt", "ls"}, "which run? Its folder, its name in runs/, or latest"},
      {{"ckpt", "show", "latest", "model.pt"}, "unexpected argument 'model.pt'"},
      {{"ckpt", "ls", "latest", "--jsno"}, "unknown flag '--jsno' (did you mean '--json'?)"},
      {{"ckpt", "ls", "latest", "--which", "best"}, "--which is for show and export"},
      {{"ckpt", "export", "latest"}, "which FILE is to be written?"},
      {{"ckpt", "export", "latest", "model"}, "which format is 'model'? Say --format pt or --format safetensors"},
      {{"ckpt", "export", "latest", "model", "--format", "safetensor"},
       "unknown format 'safetensor' (did you mean 'safetensors'?)"},
      {{"cktp", "ls"}, "unknown verb 'cktp' (did you mean 'ckpt'?)"},
  });
}

TEST(Usage, HelpHasExamplesAndTheExitCodes) {
  const TemporaryFolder folder;
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"--help"},
                                                    {"run", "--help"},
                                                    {"train", "--help"},
                                                    {"bench", "--help"},
                                                    {"ckpt", "--help"},
                                                    {"run", "-h"}}) {
    const Outcome run = run_rondo(arguments, {.folder = folder.path()});
    EXPECT_EQ(run.exit_code, 0);
    EXPECT_EQ(run.errors, "");
    EXPECT_THAT(run.output, HasSubstr("examples:\n"));
    EXPECT_THAT(run.output, HasSubstr("exit codes:\n"));
    EXPECT_THAT(run.output, HasSubstr("usage: rondo "));
  }
  EXPECT_THAT(run_rondo({"run", "--help"}, {.folder = folder.path()}).output,
              HasSubstr("cpu or auto: one per hardware thread"));
  const Outcome nothing = run_rondo({}, {.folder = folder.path()});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_THAT(nothing.errors, HasSubstr("usage: rondo VERB"));
}

TEST(Usage, VersionIsALineOrAnObject) {
  const TemporaryFolder folder;
  EXPECT_THAT(run_rondo({"--version"}, {.folder = folder.path()}).output, testing::StartsWith("rondo 0."));
  const auto version = nlohmann::json::parse(run_rondo({"version", "--json"}, {.folder = folder.path()}).output);
  EXPECT_EQ(version["program"], "rondo");
  EXPECT_FALSE(version["commit"].get<std::string>().empty());
  EXPECT_EQ(version["language"], "C++20");
  for (const char* library : {"protobuf", "grpc", "openssl", "hwloc", "nlohmann_json", "toml++", "CLI11"})
    EXPECT_THAT(version["libraries"][library].get<std::string>(), testing::MatchesRegex("[0-9]+[.][0-9]+[.][0-9]+.*"));
  EXPECT_TRUE(version["cpu_features"].is_array());
}

TEST(Usage, DoctorHasAVerdictOnEachLineAndSumsFourBytes) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"doctor", "--json"}, {.folder = folder.path()});
  const auto doctor = nlohmann::json::parse(run.output);
  std::map<std::string, std::string> verdicts;
  for (const auto& diagnosis : doctor["diagnoses"]) verdicts[diagnosis["subject"]] = diagnosis["verdict"];
  for (const char* subject : {"cpus", "memory", "network", "rondo-exec", "LibTorch", "BLAS", "all-reduce"})
    EXPECT_EQ(verdicts.count(subject), 1u) << subject;
  EXPECT_EQ(verdicts["all-reduce"], "good") << run.output << run.errors;
  EXPECT_EQ(run.exit_code, doctor["verdict"] == "bad" ? 3 : 0);
  EXPECT_TRUE(fs::is_empty(folder.path())) << "it changes nothing";
}

TEST(Usage, DoctorAsRanksOfAJobHasThemSumAndPrintsOneReport) {
  const TemporaryFolder folder;
  const Outcome run =
      run_rondo({"run", "-n", "3", "--prefix", "none", RONDO_PROGRAM, "doctor", "--json"}, {.folder = folder.path()});
  const auto doctor = nlohmann::json::parse(run.output);
  EXPECT_EQ(doctor["ranks"], 3);
  EXPECT_EQ(doctor["started"], "started by rondo run");
  ASSERT_EQ(doctor["hosts"].size(), 1u);
  EXPECT_EQ(doctor["hosts"][0]["rank_count"], 3);
  EXPECT_THAT(doctor["all_ranks"][0]["text"].get<std::string>(), HasSubstr("3 ranks sum 4 bytes right over shm"));
  EXPECT_EQ(run.exit_code, doctor["verdict"] == "bad" ? 3 : 0);
}

TEST(Usage, DoctorInAHalfSetUpJobSaysWhatIsWrongAndLooksAtTheHostWhenTold) {
  const TemporaryFolder folder;
  const Launch::Options half{.environment = {{"RANK", "5"}, {"WORLD_SIZE", "2"}}, .folder = folder.path()};
  const Outcome told = run_rondo({"doctor"}, half);
  EXPECT_EQ(told.exit_code, 3);
  EXPECT_THAT(told.output, testing::AllOf(HasSubstr("[bad    ] job: "), HasSubstr("RANK"), HasSubstr("--here")));
  EXPECT_THAT(run_rondo({"doctor", "--here"}, half).output, HasSubstr("] all-reduce: two ranks of this host"));
}

TEST(Usage, DoctorRefusesFlagsThatDoNotGoTogether) {
  expect_refused({{{"doctor", "--here", "--nnodes", "2"}, "leave one"},
                  {{"doctor", "-n", "3"}, "--nproc-per-node is for --program"},
                  {{"doctor", "--program"}, "which program?"},
                  {{"doctor", "--program", "./nowhere"}, "./nowhere"},
                  {{"doctor", "--timeout", "0"}, "seconds from 0.1"},
                  {{"doctor", "true"}, "unexpected argument 'true'"},
                  {{"doctor", "--nnodes", "2"}, "where do the hosts meet?"}});
}

TEST(Usage, DoctorOfAProgramWithoutRondoSaysThatItLookedAtNothing) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"doctor", "--program", "--", "true"}, {.folder = folder.path()});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.output, HasSubstr("[bad    ] program: it ended well, but never called rondo::init"));
  EXPECT_EQ(run_rondo({"doctor", "--program", "--", RONDO_TEST_WORKER, "exit=37"}, {.folder = folder.path()}).exit_code,
            37);
  EXPECT_TRUE(fs::is_empty(folder.path())) << "it changes nothing";
}

TEST(Usage, OfARunFolderThatIsTakenOrImpossibleIsRefused) {
  const TemporaryFolder folder;
  ASSERT_EQ(run_rondo({"run", "--run-dir", "one", "true"}, {.folder = folder.path()}).exit_code, 0);
  const Outcome taken = run_rondo({"run", "--run-dir", "one", "true"}, {.folder = folder.path()});
  EXPECT_EQ(taken.exit_code, 2);
  EXPECT_THAT(taken.errors, HasSubstr("--run-dir one holds a run already"));
  const Outcome impossible = run_rondo({"run", "--run-dir", "/proc/none/run", "true"}, {.folder = folder.path()});
  EXPECT_EQ(impossible.exit_code, 3);
  EXPECT_THAT(impossible.errors, HasSubstr("cannot make the folder /proc/none/run"));
}

}  // namespace
}  // namespace rondo::test
