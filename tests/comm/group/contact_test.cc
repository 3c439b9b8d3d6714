#include "comm/group/contact.h"

#include <gtest/gtest.h>

namespace rondo::comm {
namespace {

TEST(Contact, ComesBackAsItWasSaid) {
  for (const Contact& contact : {Contact{}, Contact{.addresses = {{"unix:@a"}}},
                                 Contact{.host = "node7/0123",
                                 .mailbox = "rondo-1",
                                 .addresses = {{"tcp:10.0.0.1:1"}, {"tcp:[fd00::1]:2"}},
                                 .probes = true}}) {
    const auto back = decode_contact(encode(contact));
    ASSERT_TRUE(back.ok()) << back.status().text();
    EXPECT_EQ(*back, contact);
  }
}

TEST(Contact, OtherWordsAreCorrupt) {
  for (const char* text : {"inproc", "host=", "address=tcp:1.2.3.4:5 colour=blue"}) {
    const Status status = decode_contact(text).status();
    EXPECT_EQ(status.code(), Code::kCorrupt) << text;
  }
}

}  // namespace
}  // namespace rondo::comm
