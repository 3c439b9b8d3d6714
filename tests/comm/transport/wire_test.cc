#include "comm/transport/wire.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "comm/base/little_endian.h"

namespace rondo::comm {
namespace {

Hello some_hello() {
  Hello hello;
  hello.role = Role::kStore;
  hello.channel = 3;
  hello.generation = 0x01020304;
  hello.group = 0x1112131415161718;
  hello.from_rank = 7;
  hello.to_rank = -1;
  for (size_t i = 0; i < hello.job.bytes.size(); ++i) hello.job.bytes[i] = static_cast<std::byte>(i + 1);
  for (size_t i = 0; i < hello.nonce.size(); ++i) hello.nonce[i] = static_cast<std::byte>(0x80 + i);
  return hello;
}

FrameHeader some_header() {
  FrameHeader header;
  header.type = FrameType::kPayload;
  header.generation = 0xA1A2A3A4;
  header.group = 0xB1B2B3B4B5B6B7B8;
  header.sequence = 0xC1C2C3C4C5C6C7C8;
  header.segment = 0xD1D2D3D4;
  header.hop = 5;
  header.length = 1234567;
  header.ack = 0xFFFFFFFF;
  header.weight = 1.0 / 3.0;
  header.payload_crc = 0xE3069283;
  header.number = 42;
  return header;
}

TEST(Wire, AHelloSurvivesTheTrip) {
  const Hello sent = some_hello();
  const auto received = decode_hello(encode(sent));
  ASSERT_TRUE(received.ok()) << received.status().text();
  EXPECT_EQ(received->version, kProtocolVersion);
  EXPECT_EQ(received->role, sent.role);
  EXPECT_EQ(received->channel, sent.channel);
  EXPECT_EQ(received->generation, sent.generation);
  EXPECT_EQ(received->group, sent.group);
  EXPECT_EQ(received->from_rank, sent.from_rank);
  EXPECT_EQ(received->to_rank, sent.to_rank);
  EXPECT_EQ(received->job, sent.job);
  EXPECT_EQ(received->nonce, sent.nonce);
}

TEST(Wire, AHelloIsLittleEndianAtFixedPlaces) {
  const auto bytes = encode(some_hello());
  EXPECT_EQ(std::to_integer<char>(bytes[0]), 'R');
  EXPECT_EQ(get_le<uint16_t>(&bytes[8]), kProtocolVersion);
  EXPECT_EQ(bytes[12], std::byte{0x04});  // generation, least significant byte first
  EXPECT_EQ(bytes[15], std::byte{0x01});
  EXPECT_EQ(bytes[16], std::byte{0x18});
  EXPECT_EQ(bytes[24], std::byte{7});
  EXPECT_EQ(bytes[28], std::byte{0xFF});
  EXPECT_EQ(bytes[32], std::byte{1});
  EXPECT_EQ(bytes[48], std::byte{0x80});
}

TEST(Wire, AnotherProtocolVersionIsNamedWithOurs) {
  Hello hello = some_hello();
  hello.version = 9;
  const auto result = decode_hello(encode(hello));
  EXPECT_EQ(result.status().code(), Code::kUnsupported);
  EXPECT_NE(result.status().message().find("version 9"), std::string::npos);
  EXPECT_NE(result.status().message().find("version 1"), std::string::npos);
}

TEST(Wire, AHelloThatIsNotOursIsRefused) {
  for (size_t at : {size_t{0}, size_t{7}, size_t{80}, size_t{127}}) {  // magic and filling
    auto bytes = encode(some_hello());
    bytes[at] ^= std::byte{1};
    EXPECT_EQ(decode_hello(bytes).status().code(), Code::kCorrupt) << "byte " << at;
  }
  Hello hello = some_hello();
  hello.role = static_cast<Role>(0);
  EXPECT_EQ(decode_hello(encode(hello)).status().code(), Code::kCorrupt);
  hello = some_hello();
  hello.from_rank = -2;
  EXPECT_EQ(decode_hello(encode(hello)).status().code(), Code::kCorrupt);
}

TEST(Wire, AFrameHeaderSurvivesTheTrip) {
  const FrameHeader sent = some_header();
  const auto received = decode_frame(encode(sent));
  ASSERT_TRUE(received.ok()) << received.status().text();
  EXPECT_EQ(received->type, sent.type);
  EXPECT_EQ(received->generation, sent.generation);
  EXPECT_EQ(received->group, sent.group);
  EXPECT_EQ(received->sequence, sent.sequence);
  EXPECT_EQ(received->segment, sent.segment);
  EXPECT_EQ(received->hop, sent.hop);
  EXPECT_EQ(received->length, sent.length);
  EXPECT_EQ(received->ack, sent.ack);
  EXPECT_EQ(received->weight, sent.weight);
  EXPECT_EQ(received->payload_crc, sent.payload_crc);
  EXPECT_EQ(received->number, sent.number);
}

TEST(Wire, EveryFlippedBitOfAFrameHeaderIsSeen) {
  const auto right = encode(some_header());
  for (size_t bit = 0; bit < kFrameHeaderBytes * 8; ++bit) {
    auto bytes = right;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_EQ(decode_frame(bytes).status().code(), Code::kCorrupt) << "bit " << bit;
  }
}

/// Changes a header and makes its CRC right again, as a faulty writer would.
template <typename T>
std::array<std::byte, kFrameHeaderBytes> forged(FrameHeader header, size_t at, T value) {
  auto bytes = encode(header);
  put_le(&bytes[at], value);
  put_le(&bytes[60], crc32c(std::span<const std::byte>(bytes).first(60)));
  return bytes;
}

TEST(Wire, AFrameHeaderWithARightChecksumAndWrongContentIsRefused) {
  for (uint16_t type : {0, 7, 15, 18, 65535}) {
    EXPECT_EQ(decode_frame(forged(some_header(), 4, type)).status().code(), Code::kCorrupt) << "type " << type;
  }
  EXPECT_EQ(decode_frame(forged(some_header(), 6, uint16_t{1})).status().code(), Code::kCorrupt);
  EXPECT_EQ(decode_frame(forged(some_header(), 12, kMaxPayloadBytes + 1)).status().code(), Code::kCorrupt);
  EXPECT_TRUE(decode_frame(forged(some_header(), 12, kMaxPayloadBytes)).ok());
  for (FrameType type : {FrameType::kAck, FrameType::kNack, FrameType::kGoodbye}) {
    FrameHeader header = some_header();
    header.type = type;
    EXPECT_EQ(decode_frame(encode(header)).status().code(), Code::kCorrupt) << name(type) << " with a payload";
    header.length = 0;
    EXPECT_TRUE(decode_frame(encode(header)).ok()) << name(type);
  }
}

}  // namespace
}  // namespace rondo::comm
