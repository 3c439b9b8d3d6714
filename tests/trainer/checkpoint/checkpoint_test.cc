#include "trainer/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rondo/error.h"
#include "tests/trainer/data/test_data.h"
#include "trainer/checkpoint/durable_file.h"
#include "trainer/checkpoint/hash.h"

namespace rondo::trainer {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::vector<std::byte> bytes(const std::string& text) {
  const auto span = std::as_bytes(std::span(text));
  return {span.begin(), span.end()};
}

Manifest example(int64_t step) {
  return {.step = step,
          .cursor = {.epoch = 2, .step = 5},
          .seed = 18446744073709551615U,
          .world_size = 2,
          .recipe = "vision.fmnist-cnn",
          .config = {{"epochs", "3"}, {"data", "/some/\"folder\""}},
          .facts = {{"pixel_mean", "0.28604"}},
          .aliases = {{"decoder.weight", "encoder.weight"}},
          .params_hash = "9f3c",
          .files = {}};
}

class CheckpointFolder : public ::testing::Test {
 protected:
  fs::path write(int64_t step, const std::string& model = "model bytes") {
    return write_checkpoint(checkpoints(), example(step),
                            {{kModelFile, bytes(model)}, {kOptimizerFile, bytes("optimizer bytes")}});
  }
  fs::path checkpoints() const { return folder_.path() / "checkpoints"; }
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(checkpoints())) names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
  }
  std::string complaint(const fs::path& checkpoint) {
    try {
      open_checkpoint(checkpoint);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kCorrupt);
      return error.what();
    }
    return "accepted";
  }
  test::TemporaryFolder folder_;
};

TEST_F(CheckpointFolder, WhatIsWrittenIsReadBack) {
  const fs::path written = write(1407);
  EXPECT_EQ(written, checkpoints() / "step-00001407");
  const Checkpoint found = open_checkpoint(written);
  const Manifest expected = example(1407);
  EXPECT_EQ(found.manifest.step, 1407);
  EXPECT_EQ(found.manifest.cursor, expected.cursor);
  EXPECT_EQ(found.manifest.seed, expected.seed);
  EXPECT_EQ(found.manifest.world_size, 2);
  EXPECT_EQ(found.manifest.recipe, expected.recipe);
  EXPECT_EQ(found.manifest.config, expected.config);
  EXPECT_EQ(found.manifest.facts, expected.facts);
  EXPECT_EQ(found.manifest.aliases, expected.aliases);
  EXPECT_EQ(found.manifest.params_hash, expected.params_hash);
  EXPECT_EQ(found.manifest.files.at(kModelFile).byte_count, 11);
  EXPECT_EQ(test::read_file(written / kModelFile), "model bytes");
}

TEST_F(CheckpointFolder, LeavesNothingTemporaryBehindAndClearsWhatACrashLeft) {
  fs::create_directories(checkpoints() / ".tmp-step-00000001-99999");
  test::write_file(checkpoints() / ".tmp-step-00000001-99999" / kModelFile, "half");
  write(2);
  EXPECT_EQ(entries(), std::vector<std::string>{"step-00000002"});
}

TEST_F(CheckpointFolder, OfTheSameStepIsReplacedWhole) {
  write(2, "old");
  const fs::path written = write(2, "newer");
  EXPECT_EQ(test::read_file(open_checkpoint(written).folder / kModelFile), "newer");
  EXPECT_EQ(entries(), std::vector<std::string>{"step-00000002"});
}

TEST_F(CheckpointFolder, AFailedWriteLeavesTheFolderAsItWas) {
  write(2, "old");
  EXPECT_THROW(write_checkpoint(checkpoints(), example(3), {{kModelFile, bytes("x")}, {"no/such/folder", bytes("y")}}),
               Error);
  EXPECT_EQ(entries(), std::vector<std::string>{"step-00000002"});
}

TEST_F(CheckpointFolder, AProcessKilledWhileWritingLeavesOnlyWholeCheckpoints) {
  for (int round = 0; round < 20; ++round) {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::write(ready[1], "x", 1);
      for (int64_t step = 1;; ++step) write(step % 7, std::string(100'000, 'm'));
    }
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    ::usleep(static_cast<useconds_t>(1000 + 700 * round));  // the moment of the crash, not a synchronisation
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(ready[0]);
    ::close(ready[1]);
    if (!fs::exists(checkpoints())) continue;
    for (const std::string& name : entries()) {
      if (name.starts_with(".tmp-")) continue;
      EXPECT_EQ(complaint(checkpoints() / name), "accepted") << name;
    }
  }
}

TEST_F(CheckpointFolder, EveryDamageIsSeenAndNamed) {
  const fs::path written = write(1);
  const fs::path model = written / kModelFile;
  test::write_file(model, "Model bytes");
  EXPECT_THAT(complaint(written), AllOf(HasSubstr(model.string()), HasSubstr("SHA-256")));
  test::write_file(model, "model byte");
  EXPECT_THAT(complaint(written), AllOf(HasSubstr(model.string()), HasSubstr("expected 11 bytes, found 10")));
  fs::remove(model);
  EXPECT_THAT(complaint(written), AllOf(HasSubstr(model.string()), HasSubstr("missing")));
  test::write_file(model, "model bytes");
  EXPECT_EQ(complaint(written), "accepted");

  const std::string manifest = test::read_file(written / kManifestFile);
  for (size_t i = 0; i < manifest.size(); i += 3) {
    std::string damaged = manifest;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    if (std::isspace(static_cast<unsigned char>(manifest[i])) != 0) continue;  // layout carries no content
    test::write_file(written / kManifestFile, damaged);
    EXPECT_NE(complaint(written), "accepted") << "byte " << i << " of the manifest";
  }
  fs::remove(written / kManifestFile);
  EXPECT_THAT(complaint(written), HasSubstr(kManifestFile));
}

TEST_F(CheckpointFolder, TheNewestValidOneIsFoundAndTheDamagedAreNamed) {
  write(9);
  write(10);
  write(100);
  write(101);
  test::write_file(checkpoints() / "step-00000101" / kModelFile, "damaged 101");
  fs::remove(checkpoints() / "step-00000100" / kManifestFile);
  fs::create_directories(checkpoints() / ".tmp-step-00000200-1");
  fs::create_directories(checkpoints() / "step-x");
  const FoundCheckpoint found = newest_valid_checkpoint(checkpoints());
  EXPECT_EQ(found.checkpoint.manifest.step, 10);
  ASSERT_EQ(found.skipped.size(), 2U);
  EXPECT_THAT(found.skipped[0], AllOf(HasSubstr("step-00000101"), HasSubstr("SHA-256")));
  EXPECT_THAT(found.skipped[1], AllOf(HasSubstr("step-00000100"), HasSubstr(kManifestFile)));
}

TEST_F(CheckpointFolder, NoneAndNoneValidAreDifferentErrors) {
  try {
    newest_valid_checkpoint(checkpoints());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kPreflight);
  }
  fs::remove(write(1) / kModelFile);
  fs::remove(write(2) / kOptimizerFile);
  try {
    newest_valid_checkpoint(checkpoints());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kCorrupt);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("step-00000001"), HasSubstr("step-00000002")));
  }
}

TEST(Manifest, FileNamesCannotLeaveTheFolder) {
  for (const std::string name : {"../model", "a/b", ".hidden", ""}) {
    Manifest manifest = example(1);
    manifest.files[name] = {.byte_count = 1, .sha256 = "00"};
    EXPECT_THAT(test::words_of_error([&] { decode_manifest(encode_manifest(manifest), "m"); }), HasSubstr("file name"))
        << name;
  }
}

TEST(Hash, KnownValues) {
  // FIPS 180-4's example, and XXH3-128 of nothing.
  EXPECT_EQ(sha256_of_bytes(bytes("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(FastHash().hex(), "99aa06d3014798d86001c324468d497f");
  const test::TemporaryFolder folder;
  const std::string large = test::pattern(3'000'001);
  test::write_file(folder.path() / "large", large);
  EXPECT_EQ(sha256_of_file(folder.path() / "large"), sha256_of_bytes(bytes(large)));
}

TEST(DurableFile, AtomicWritesReplaceAndNeverAppend) {
  const test::TemporaryFolder folder;
  write_atomically(folder.path() / "summary.json", bytes("a long first content"));
  write_atomically(folder.path() / "summary.json", bytes("short"));
  EXPECT_EQ(test::read_file(folder.path() / "summary.json"), "short");
  EXPECT_THROW(write_durable(folder.path() / "summary.json", bytes("x")), Error)
      << "an existing file is never overwritten in place";
}

}  // namespace
}  // namespace rondo::trainer
