#include "trainer/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "rondo/error.h"

namespace rondo::trainer {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::vector<std::byte> raw_file(const std::string& header, size_t data_bytes) {
  std::vector<std::byte> content(8 + header.size() + data_bytes);
  const uint64_t length = header.size();
  std::memcpy(content.data(), &length, 8);
  std::memcpy(content.data() + 8, header.data(), header.size());
  return content;
}

/// The words with which `content` is refused; "accepted" if it is not.
std::string verdict(std::vector<std::byte> content) {
  try {
    SafetensorsFile::parse(std::move(content), "some/model.safetensors");
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kCorrupt);
    EXPECT_THAT(error.what(), HasSubstr("some/model.safetensors"));
    return error.what();
  }
  return "accepted";
}
std::string verdict(const std::string& header, size_t data_bytes) { return verdict(raw_file(header, data_bytes)); }

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

TEST(Safetensors, WhatIsWrittenIsReadBack) {
  std::vector<float> weights(6);
  std::iota(weights.begin(), weights.end(), 1.5F);
  const std::vector<int64_t> counter{1234567890123};
  const std::vector<uint8_t> bytes{1, 2, 3};
  const auto content = encode_safetensors({{"bytes", "U8", {3}, bytes_of(bytes)},
                                           {"layer.weight", "F32", {2, 3}, bytes_of(weights)},
                                           {"counter", "I64", {}, bytes_of(counter)},
                                           {"nothing", "F32", {0, 4}, {}}},
                                          {{"format", "pt"}});
  const SafetensorsFile file = SafetensorsFile::parse(content, "file");
  ASSERT_EQ(file.tensors().size(), 4U);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  const TensorRecord& found = *file.find("layer.weight");
  EXPECT_EQ(found.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(found.dtype, "F32");
  EXPECT_EQ(0, std::memcmp(found.bytes.data(), weights.data(), 24));
  EXPECT_EQ(file.find("counter")->shape, std::vector<int64_t>{});
  EXPECT_EQ(0, std::memcmp(file.find("counter")->bytes.data(), counter.data(), 8));
  EXPECT_EQ(file.find("absent"), nullptr);
  for (const TensorRecord& tensor : file.tensors()) {
    EXPECT_EQ(
        reinterpret_cast<uintptr_t>(tensor.bytes.data()) % static_cast<uintptr_t>(safetensors_width(tensor.dtype)), 0U)
        << tensor.name << " is aligned to its own width";
  }
}

TEST(Safetensors, DataBeginAtAMultipleOfEight) {
  for (size_t length = 1; length < 20; ++length) {
    const std::vector<float> one{1};
    const auto content = encode_safetensors({{std::string(length, 'n'), "F32", {1}, bytes_of(one)}}, {});
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, content.data(), 8);
    EXPECT_EQ(header_bytes % 8, 0U);
    EXPECT_EQ(content.size(), 8 + header_bytes + 4);
  }
}

TEST(Safetensors, AMovedFileKeepsItsTensors) {
  const std::vector<float> values{7, 8};
  SafetensorsFile first = SafetensorsFile::parse(encode_safetensors({{"x", "F32", {2}, bytes_of(values)}}, {}), "file");
  const SafetensorsFile second = std::move(first);
  EXPECT_EQ(0, std::memcmp(second.find("x")->bytes.data(), values.data(), 8));
}

constexpr const char* kGood =
    R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})";

TEST(Safetensors, AHandWrittenFileIsAccepted) {
  EXPECT_EQ(verdict(kGood, 12), "accepted");
  EXPECT_EQ(verdict("{}", 0), "accepted");
  EXPECT_EQ(verdict(std::string("{}      "), 0), "accepted");
}

TEST(Safetensors, AWrongHeaderLengthIsRefused) {
  EXPECT_THAT(verdict(std::vector<std::byte>(7)), HasSubstr("expected at least 8 bytes, found 7"));
  auto content = raw_file(kGood, 12);
  const uint64_t beyond = content.size();
  std::memcpy(content.data(), &beyond, 8);
  EXPECT_THAT(verdict(content), HasSubstr("header length: expected at most"));
  const uint64_t huge = UINT64_MAX;
  std::memcpy(content.data(), &huge, 8);
  EXPECT_THAT(verdict(content), HasSubstr("16 MiB"));
}

TEST(Safetensors, HolesOverlapsAndTrailingBytesAreRefused) {
  EXPECT_THAT(verdict(kGood, 13), HasSubstr("expected 12 bytes of data, found 13"));
  EXPECT_THAT(verdict(kGood, 11), HasSubstr("within 11 bytes"));
  EXPECT_THAT(
      verdict(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})",
          16),
      HasSubstr("hole"));
  EXPECT_THAT(
      verdict(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
          8),
      HasSubstr("overlap"));
  EXPECT_THAT(
      verdict(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
          8),
      HasSubstr("overlap"));
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8), HasSubstr("hole"));
  EXPECT_THAT(verdict("{}", 1), HasSubstr("found 1"));
}

TEST(Safetensors, DuplicateNamesAreRefused) {
  EXPECT_THAT(
      verdict(
          R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
          4),
      AllOf(HasSubstr("\"a\""), HasSubstr("twice")));
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4),
              HasSubstr("twice"));
}

TEST(Safetensors, ShapesThatDoNotFitTheirRangeAreRefused) {
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8),
              AllOf(HasSubstr("need 12"), HasSubstr("hold 8")));
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
              HasSubstr("overflows"));
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0),
              HasSubstr("overflows"));
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F32","shape":[18446744073709551615,0],"data_offsets":[0,0]}})", 0),
              HasSubstr("overflows"));
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8), HasSubstr("ascending"));
}

TEST(Safetensors, AnythingButTheSpecifiedFieldsIsRefused) {
  EXPECT_THAT(verdict("[]", 0), HasSubstr("no JSON object"));
  EXPECT_THAT(verdict("", 0), HasSubstr("no JSON"));
  EXPECT_THAT(verdict("{\"a\":", 0), HasSubstr("no JSON"));
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F32","shape":[1]}})", 0), HasSubstr("exactly"));
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}})", 4), HasSubstr("exactly"));
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4), HasSubstr("F33"));
  EXPECT_THAT(verdict(R"({"a":{"dtype":32,"shape":[1],"data_offsets":[0,4]}})", 4), HasSubstr("dtype"));
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4), HasSubstr("natural"));
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4), HasSubstr("natural"));
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4), HasSubstr("list"));
  EXPECT_THAT(verdict(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", 8), HasSubstr("expected 2"));
  EXPECT_THAT(verdict(R"({"__metadata__":{"format":1}})", 0), HasSubstr("metadata"));
  EXPECT_THAT(verdict(R"({"__metadata__":"pt"})", 0), HasSubstr("metadata"));
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "[";
  EXPECT_THAT(verdict("{\"a\":" + deep, 0), HasSubstr("nested"));
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const auto whole = raw_file(kGood, 12);
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(verdict({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)}), "accepted") << length;
  }
}

}  // namespace
}  // namespace rondo::trainer
