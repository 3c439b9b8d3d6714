#include "comm/schedule/measured.h"

#include <gtest/gtest.h>

#include <string>

namespace rondo::comm {
namespace {

TEST(Measured, ComesBackFromItsTextToTheLastBit) {
  Measured measured;
  EXPECT_EQ(*Measured::decode(measured.encode()), measured);
  measured = {.messages = LinkCost{.alpha_us = 1.0 / 3, .beta_ns = 1e-9, .gamma_ns = 0},
              .memory = LinkCost{.alpha_us = 0.1, .beta_ns = 0.02, .gamma_ns = 0.01},
              .staging = {{.byte_count = 1, .plain_us = 0.7, .non_temporal_us = 2.0 / 3}, {.byte_count = 1 << 20}},
              .took_us = 4711.5};
  EXPECT_EQ(*Measured::decode(measured.encode()), measured);
}

TEST(Measured, RefusesTextThatIsNoTable) {
  for (const std::string text :
       {"", "rondo-measured-2", "rondo-measured-1 messages 1 2", "rondo-measured-1 messages 1 2 -3",
        "rondo-measured-1 memory inf 1 1", "rondo-measured-1 staging 5 x 1", "rondo-measured-1 speed 3"}) {
    const auto read = Measured::decode(text);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_EQ(read.status().code(), Code::kCorrupt) << text;
  }
}

TEST(Measured, NonTemporalStoresMustGainATenth) {
  EXPECT_EQ((StoreTiming{.plain_us = 100, .non_temporal_us = 89}).faster(), StoreKind::kNonTemporal);
  EXPECT_EQ((StoreTiming{.plain_us = 100, .non_temporal_us = 91}).faster(), StoreKind::kPlain);
}

}  // namespace
}  // namespace rondo::comm
