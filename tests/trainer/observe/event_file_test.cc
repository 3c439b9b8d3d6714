/// The file as TensorBoard reads it: framing, checksums and fields, by a reader of its own that shares no code with the
/// writer.
#include "trainer/observe/event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <optional>

#include "rondo/error.h"
#include "tests/trainer/data/test_data.h"

namespace rondo::trainer {
namespace {

/// Bit by bit, from the polynomial.
uint32_t plain_crc32c(const std::string& bytes) {
  uint32_t crc = ~0U;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0);
  }
  return ~crc;
}

uint64_t number(const std::string& bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) value |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return value;
}

/// The contents of all records; fails the test where the framing or a checksum is wrong.
std::vector<std::string> records_of(const std::string& file) {
  const auto unmasked = [](uint64_t masked) {
    const auto rotated = static_cast<uint32_t>(masked) - 0xa282ead8U;
    return (rotated >> 17) | (rotated << 15);
  };
  std::vector<std::string> records;
  for (size_t at = 0; at < file.size();) {
    const std::string length = file.substr(at, 8);
    EXPECT_EQ(unmasked(number(file.substr(at + 8, 4))), plain_crc32c(length)) << "length of the record at " << at;
    const std::string content = file.substr(at + 12, number(length));
    EXPECT_EQ(content.size(), number(length));
    EXPECT_EQ(unmasked(number(file.substr(at + 12 + content.size(), 4))), plain_crc32c(content)) << "record at " << at;
    if (testing::Test::HasFailure()) break;
    records.push_back(content);
    at += 16 + content.size();
  }
  return records;
}

/// Fields of a Protobuf message by number, in order: varints and fixed numbers as bytes, little-endian.
std::multimap<int, std::string> fields_of(const std::string& message) {
  std::multimap<int, std::string> fields;
  size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0; at < message.size(); shift += 7) {
      const auto byte = static_cast<unsigned char>(message[at++]);
      value |= uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (at < message.size()) {
    const uint64_t key = varint();
    std::string content;
    if ((key & 7) == 0) {
      const uint64_t value = varint();
      for (int i = 0; i < 8; ++i) content += static_cast<char>(value >> (8 * i));
    } else {
      const size_t length = (key & 7) == 1 ? 8 : (key & 7) == 5 ? 4 : varint();
      content = message.substr(at, length);
      at += length;
    }
    fields.emplace(static_cast<int>(key >> 3), content);
  }
  return fields;
}

template <typename T>
T as(const std::string& bytes) {
  T value{};
  EXPECT_EQ(bytes.size(), sizeof value);
  if (bytes.size() == sizeof value) std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

struct Event {
  double wall_time = 0;
  int64_t step = 0;
  std::string file_version;
  std::map<std::string, float> scalars;
};
Event event_of(const std::string& record) {
  Event event;
  for (const auto& [number, content] : fields_of(record)) {
    if (number == 1) event.wall_time = as<double>(content);
    if (number == 2) event.step = as<int64_t>(content);
    if (number == 3) event.file_version = content;
    if (number != 5) continue;
    for (const auto& [of_summary, value] : fields_of(content)) {
      const auto fields = fields_of(value);
      EXPECT_EQ(of_summary, 1);
      event.scalars[fields.find(1)->second] = as<float>(fields.find(2)->second);
    }
  }
  return event;
}

// The beginning of every file that TensorFlow itself writes: a record of 24 bytes with the file's version.
TEST(EventFile, FramesRecordsAsTensorFlowDoes) {
  EXPECT_EQ(tf_record(std::string(24, 'x')).substr(0, 12), std::string("\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22", 12));
  EXPECT_EQ(plain_crc32c("123456789"), 0xE3069283U);
  EXPECT_THAT(records_of(tf_record("") + tf_record("abc")), testing::ElementsAre("", "abc"));
}

TEST(EventFile, HoldsItsVersionAndTheScalarsOfStepsAndEpochs) {
  const test::TemporaryFolder folder;
  std::filesystem::path path;
  {
    EventFile file(folder.path());
    path = file.path();
    file.write(StepMetrics{
        .step = 300,
        .loss = 1.25,
        .lr = 0.5,
        .samples_per_second = 4000,
        .statistics =
            StepStatistics{.backward_end_us = 2'000,
                           .exposed_us = 500,
                           .buckets = {{.byte_count = 4096, .ready_us = 500, .launch_us = 1'000, .complete_us = 3'000},
                                       {.byte_count = 512, .ready_us = 250, .launch_us = 1'000, .complete_us = 3'000}},
                           .ranks = {{.last_gradient_us = 2'000}, {.last_gradient_us = 4'500}}}});
    file.write(
        EpochMetrics{.step = 469, .loss = 0.5, .samples_per_second = 4100, .test_correct = 3, .test_samples = 4});
  }
  EXPECT_THAT(path.filename().string(), testing::MatchesRegex("events\\.out\\.tfevents\\.[0-9]+\\..+\\.[0-9]+\\.0"));
  const auto records = records_of(test::read_file(path));
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(event_of(records[0]).file_version, "brain.Event:2");
  const Event step = event_of(records[1]);
  EXPECT_EQ(step.step, 300);
  EXPECT_GT(step.wall_time, 1.7e9);
  EXPECT_THAT(
      step.scalars,
      testing::UnorderedElementsAre(
          testing::Pair("train/loss", 1.25F), testing::Pair("train/lr", 0.5F),
          testing::Pair("train/samples_per_second", 4000.0F), testing::Pair("reduction/backward_ms", 2.0F),
          testing::Pair("reduction/communication_ms", 2.0F), testing::Pair("reduction/exposed_ms", 0.5F),
          testing::Pair("reduction/overlap", 0.5F), testing::Pair("stragglers/rank", 1.0F),
          testing::Pair("stragglers/behind_ms", 2.5F), testing::Pair("buckets/bytes/bucket 0", 4096.0F),
          testing::Pair("buckets/bytes/bucket 1", 512.0F), testing::Pair("buckets/ready_ms/bucket 0", 0.5F),
          testing::Pair("buckets/ready_ms/bucket 1", 0.25F), testing::Pair("buckets/ready_place/bucket 0", 1.0F),
          testing::Pair("buckets/ready_place/bucket 1", 0.0F), testing::Pair("stragglers/ready_ms/rank 0", 2.0F),
          testing::Pair("stragglers/ready_ms/rank 1", 4.5F)));
  const Event epoch = event_of(records[2]);
  EXPECT_EQ(epoch.step, 469);
  EXPECT_EQ(epoch.scalars.at("epoch/test_accuracy"), 0.75F);
  EXPECT_EQ(epoch.scalars.at("epoch/loss"), 0.5F);
}

TEST(EventFile, ThatCannotBeMadeIsNamed) {
  const test::TemporaryFolder folder;
  try {
    const EventFile file(folder.path() / "missing");
    FAIL() << "made " << file.path();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("missing/events.out.tfevents."));
  }
}

}  // namespace
}  // namespace rondo::trainer
