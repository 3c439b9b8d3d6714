#include "rondo/comm/control.h"

#include <gtest/gtest.h>

#include "comm/base/crc32c.h"
#include "comm/base/little_endian.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

ControlFrame example(ControlKind kind) {
  return {.kind = kind,
          .generation = 3,
          .rank = 1,
          .pid = 4321,
          .exit_code = -1,
          .signal_number = 9,
          .sequence = 0x1122334455667788,
          .time_ns = 0x99AABBCCDDEEFF00};
}

TEST(ControlFrame, SurvivesTheRoundTrip) {
  for (const auto kind : {ControlKind::kBeat, ControlKind::kSuspicion, ControlKind::kAbort, ControlKind::kVerdict}) {
    const ControlFrame sent = example(kind);
    const auto got = decode_control(encode(sent));
    RONDO_ASSERT_OK(got);
    EXPECT_EQ(got->kind, sent.kind);
    EXPECT_EQ(got->generation, 3u);
    EXPECT_EQ(got->rank, 1);
    EXPECT_EQ(got->pid, 4321);
    EXPECT_EQ(got->exit_code, -1);
    EXPECT_EQ(got->signal_number, 9);
    EXPECT_EQ(got->sequence, sent.sequence);
    EXPECT_EQ(got->time_ns, sent.time_ns);
  }
}

TEST(ControlFrame, RefusesEveryFlippedBit) {
  auto bytes = encode(example(ControlKind::kVerdict));
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_EQ(decode_control(bytes).status().code(), Code::kCorrupt) << "bit " << bit;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST(ControlFrame, RefusesUnknownKindsAndVersionsWithARightChecksum) {
  for (const auto& [offset, value] : {std::pair<size_t, int>{4, 2}, {6, 0}, {6, 5}, {50, 1}}) {
    auto bytes = encode(example(ControlKind::kBeat));
    bytes[offset] = static_cast<std::byte>(value);
    put_le(bytes.data() + 60, crc32c(std::span(bytes).first(60)));
    EXPECT_EQ(decode_control(bytes).status().code(), Code::kCorrupt) << "offset " << offset;
  }
}

}  // namespace
}  // namespace rondo::comm
