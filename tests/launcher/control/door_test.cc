/// Doors and lines with plain sockets behind them: who proves himself is carried, whoever does not gets nowhere and is
/// in nobody's way.
#include "launcher/control/door.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "launcher/control/line.h"
#include "launcher/control/local_socket.h"
#include "rondo/comm/thread_annotations.h"
#include "tests/launcher/control/guests.h"

namespace rondo::test {
namespace {

using comm::Code;
using launcher::Descriptor;
using launcher::Door;
using launcher::Line;
using testing::HasSubstr;

const comm::Deadline kNow{};

/// A door and what it let in or refused.
class Entrance {
 public:
  explicit Entrance(const std::vector<std::string>& addresses, int secret = 1) {
    Door::Options options;
    for (const std::string& address : addresses) options.addresses.push_back({address});
    options.authority = authority_of(secret);
    options.holder = {"coordinator", "node-0"};
    options.on_guest = [this](Door::Guest guest) {
      const comm::MutexLock lock(mutex_);
      guests_.push_back(std::move(guest));
    };
    options.on_refused = [this](const comm::Status& status) {
      const comm::MutexLock lock(mutex_);
      refusals_ += status.text() + "\n";
    };
    auto door = Door::open(std::move(options));
    if (door.ok()) door_ = std::move(*door);
    opened_ = door.status();
  }

  const comm::Status& opened() const { return opened_; }
  Door& door() { return *door_; }
  const comm::Address& address() const { return door_->addresses().front(); }
  std::string refusals() {
    const comm::MutexLock lock(mutex_);
    return refusals_;
  }
  /// The next one, or one without an end after 20 s.
  Door::Guest guest() {
    Door::Guest taken;
    soon([&] {
      const comm::MutexLock lock(mutex_);
      if (guests_.empty()) return false;
      taken = std::move(guests_.front());
      guests_.erase(guests_.begin());
      return true;
    });
    return taken;
  }

 private:
  comm::Mutex mutex_;
  std::vector<Door::Guest> guests_ RONDO_GUARDED_BY(mutex_);
  std::string refusals_ RONDO_GUARDED_BY(mutex_);
  comm::Status opened_;
  std::unique_ptr<Door> door_;
};

std::unique_ptr<Line> line_to(const std::vector<comm::Address>& doors, int secret = 1, double seconds = 20) {
  return Line::open(authority_of(secret),
                    {.doors = doors, .holder = {"agent", "node-3"}, .open_by = comm::in_seconds(seconds)})
      .value();
}

/// An honest guest gets in and is heard.
void expect_service(Entrance& entrance) {
  const auto line = line_to({entrance.address()});
  const Descriptor end = line->take_end();
  ASSERT_TRUE(send_all(end, "hello"));
  const Door::Guest guest = entrance.guest();
  ASSERT_TRUE(guest.end.open()) << line->status().text();
  EXPECT_EQ(receive(guest.end, 5), "hello");
}

TEST(Door, CarriesMegabytesBothWaysAtOnceInOrder) {
  Entrance entrance({"tcp:127.0.0.1:0"});
  const auto line = line_to({entrance.address()});
  const Descriptor here = line->take_end();
  const std::string there_text = pattern(3'000'001, 1), here_text = pattern(2'000'003, 2);
  std::thread writer([&] { EXPECT_TRUE(send_all(here, here_text)); });  // before the line stands
  const Door::Guest guest = entrance.guest();
  ASSERT_TRUE(guest.end.open());
  EXPECT_EQ(guest.who, "agent on node-3");
  EXPECT_THAT(guest.address, HasSubstr("127.0.0.1:"));
  std::thread answerer([&] { EXPECT_TRUE(send_all(guest.end, there_text)); });
  std::string heard_here;
  std::thread reader([&] { heard_here = receive(here, there_text.size()); });
  EXPECT_TRUE(receive(guest.end, here_text.size()) == here_text);
  for (std::thread* thread : {&writer, &answerer, &reader}) thread->join();
  EXPECT_TRUE(heard_here == there_text);
  EXPECT_TRUE(line->status().ok());
}

TEST(Door, ASlowReaderHoldsBackTheWriterAndLosesNothing) {
  Entrance entrance({"tcp:127.0.0.1:0"});
  const auto line = line_to({entrance.address()});
  const Descriptor here = line->take_end();
  const Door::Guest guest = entrance.guest();
  const std::string text = pattern(16 << 20, 5);  // more than sockets and tunnels hold
  std::atomic<bool> sent{false};
  std::thread writer([&] {
    EXPECT_TRUE(send_all(here, text));
    sent = true;
  });
  EXPECT_EQ(receive(guest.end, 1000), text.substr(0, 1000));
  EXPECT_FALSE(sent) << "15 MiB are held somewhere";
  EXPECT_TRUE(receive(guest.end, text.size() - 1000) == text.substr(1000));
  writer.join();
}

TEST(Door, AnEndClosedOnEitherSideEndsTheOther) {
  Entrance entrance({"tcp:127.0.0.1:0"});
  for (const bool here_first : {true, false}) {
    const auto line = line_to({entrance.address()});
    Descriptor here = line->take_end();
    Door::Guest guest = entrance.guest();
    ASSERT_TRUE(guest.end.open());
    Descriptor& first = here_first ? here : guest.end;
    Descriptor& second = here_first ? guest.end : here;
    ASSERT_TRUE(send_all(first, "last words"));
    first.reset();
    EXPECT_EQ(receive(second, 100), "last words");
    second.reset();
    EXPECT_TRUE(soon([&] { return line->status().code() == Code::kClosed; })) << line->status().text();
    line->close(comm::in_seconds(20));
  }
  entrance.door().close(comm::in_seconds(20));
}

TEST(Door, ALineThatBreaksSaysSo) {
  Entrance entrance({"tcp:127.0.0.1:0"});
  const auto line = line_to({entrance.address()});
  const Descriptor here = line->take_end();
  const Door::Guest guest = entrance.guest();
  ASSERT_TRUE(guest.end.open());
  entrance.door().close(kNow);  // cuts it: no goodbye
  EXPECT_TRUE(reaches_end(here));
  EXPECT_TRUE(soon([&] { return line->status().code() == Code::kPeerLost; })) << line->status().text();
}

TEST(Door, AnotherSecretIsToldSoAndNeverGetsIn) {
  Entrance entrance({"tcp:127.0.0.1:0"});
  const auto line = line_to({entrance.address()}, 2);
  const comm::Status status = line->wait_open(comm::in_seconds(20));
  EXPECT_EQ(status.code(), Code::kUnauthenticated) << status.text();
  EXPECT_THAT(status.message(), HasSubstr(entrance.address().text));
  EXPECT_THAT(status.message(), HasSubstr("another secret: RONDO_SECRET_FILE differs between the hosts"));
  EXPECT_TRUE(reaches_end(line->take_end()));
  EXPECT_TRUE(soon([&] { return entrance.door().refused() == 1; }));
  EXPECT_THAT(entrance.refusals(), HasSubstr("another secret"));
  EXPECT_EQ(entrance.door().guests(), 0u);
  expect_service(entrance);
}

TEST(Door, GarbagePlainHttp2AndSilenceNeverGetIn) {
  Entrance entrance({"tcp:127.0.0.1:0"});
  const Descriptor silent = raw_connection(entrance.address());
  for (const std::string& bytes : {std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), pattern(100'000, 3)}) {
    const Descriptor rude = raw_connection(entrance.address());
    ASSERT_TRUE(rude.open());
    send_all(rude, bytes);
    EXPECT_TRUE(reaches_end(rude));
  }
  EXPECT_TRUE(reaches_end(silent)) << "after 2 s";
  EXPECT_TRUE(soon([&] { return entrance.door().refused() == 3; })) << entrance.refusals();
  EXPECT_THAT(entrance.refusals(), HasSubstr("did not prove in time that it holds the job's secret"));
  EXPECT_EQ(entrance.door().guests(), 0u);
  expect_service(entrance);
}

TEST(Door, WhoSendsByteByByteIsEndedAtTheDeadline) {
  Entrance entrance({"tcp:127.0.0.1:0"});
  const Descriptor slow = raw_connection(entrance.address());
  const std::string record = std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + pattern(500, 4);
  const auto start = comm::Clock::now();
  size_t sent = 0;
  while (sent < record.size() && send_all(slow, std::string_view(record).substr(sent, 1))) {
    ++sent;
    ::poll(nullptr, 0, 20);
  }
  EXPECT_LT(sent, record.size()) << "10 s of bytes were taken";
  EXPECT_GE(comm::Clock::now() - start, Door::kProveWithin - std::chrono::milliseconds(100));
  EXPECT_EQ(entrance.door().guests(), 0u);
  expect_service(entrance);
}

TEST(Door, AThousandIdleConnectionsAreInNobodysWay) {
  Entrance entrance({"tcp:127.0.0.1:0"});
  std::vector<Descriptor> idle;
  for (int count = 0; count < 1000; ++count) {
    idle.push_back(raw_connection(entrance.address()));
    if (!idle.back().open()) {
      ASSERT_GT(count, 300) << "the limit of open files is too small for this test";
      break;
    }
  }
  expect_service(entrance);
  EXPECT_GE(entrance.door().refused(), idle.size() - 2 * Door::kMostUnproved);
  EXPECT_THAT(entrance.refusals(), HasSubstr("too many connections at once that have not proved themselves"));
  EXPECT_EQ(entrance.door().guests(), 1u);
}

TEST(Door, ListensOnTheWantedAddressesOnly) {
  const auto before = own_tcp_listeners();
  Entrance entrance({"tcp:127.0.0.1:0", "tcp:127.0.0.2:0", "unix:@rondo-door-test-" + std::to_string(::getpid())});
  ASSERT_TRUE(entrance.opened().ok()) << entrance.opened().text();
  const auto listeners = own_tcp_listeners();
  ASSERT_EQ(listeners.size(), before.size() + 2);
  for (const std::string& listener : listeners)
    EXPECT_THAT(listener, testing::AnyOf(testing::StartsWith("0100007F:"), testing::StartsWith("0200007F:")));
  for (const char* wildcard : {"tcp:0.0.0.0:0", "tcp:[::]:0"})
    EXPECT_EQ(Entrance({wildcard}).opened().code(), Code::kInvalidArgument) << wildcard;
}

TEST(Door, OfOneHostAsksForNoSecretButForTheSameUser) {
  const comm::Address address{"unix:@rondo-door-test-" + std::to_string(::getpid())};
  Entrance entrance({address.text});
  ASSERT_TRUE(entrance.opened().ok()) << entrance.opened().text();
  const auto end = launcher::call_local(address);
  ASSERT_TRUE(end.ok()) << end.status().text();
  const Door::Guest guest = entrance.guest();
  ASSERT_TRUE(send_all(*end, "hello"));
  EXPECT_EQ(receive(guest.end, 5), "hello");
  EXPECT_EQ(guest.who, "user " + std::to_string(::geteuid()) + " of this host");

  if (::geteuid() != 0) GTEST_SKIP() << "only root can play another user";
  const pid_t other = ::fork();
  if (other == 0) {  // no gRPC here, and the child only calls what a signal handler may, and the code under test
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(9);
    const auto refused = launcher::call_local(address);  // it looks at who listens, too
    ::_exit(refused.status().code() == Code::kUnauthenticated ? 7 : 8);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(other, &status, 0), other);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_TRUE(soon([&] { return entrance.door().refused() == 1; }));
  EXPECT_THAT(entrance.refusals(), HasSubstr("the other side is user 65534"));
  EXPECT_EQ(entrance.door().guests(), 1u);
}

TEST(Door, OpensLaterThanTheLineCalls) {
  Entrance placeholder({"tcp:127.0.0.1:0"});
  const comm::Address address = placeholder.address();
  placeholder.door().close(kNow);
  const auto line = line_to({address});
  EXPECT_TRUE(line->wait_open(comm::in_seconds(0.3)).is_pending());
  Entrance entrance({address.text});
  ASSERT_TRUE(entrance.opened().ok()) << entrance.opened().text();
  EXPECT_TRUE(line->wait_open(comm::in_seconds(20)).ok()) << line->status().text();
}

TEST(Line, NamesTheDoorsThatDidNotOpenInTime) {
  Entrance entrance({"tcp:127.0.0.1:0", "tcp:127.0.0.2:0"});
  const auto addresses = entrance.door().addresses();
  entrance.door().close(kNow);
  const auto line = line_to(addresses, 1, 0.5);
  const comm::Status status = line->wait_open(comm::in_seconds(20));
  EXPECT_EQ(status.code(), Code::kTimeout) << status.text();
  for (const comm::Address& address : addresses)
    EXPECT_THAT(status.message(), HasSubstr(address.text + ": cannot connect: Connection refused"));
}

TEST(Line, NamesADoorThatIsNone) {
  const auto listener = comm::real_env()->listen({"tcp:127.0.0.1:0"});
  ASSERT_TRUE(listener.ok());
  const auto line = line_to({(*listener)->address()});
  std::unique_ptr<comm::Stream> stream;
  ASSERT_TRUE(soon([&] { return (stream = (*listener)->accept()) != nullptr; }));
  const std::string answer = "HTTP/1.1 400 Bad Request\r\n\r\n";
  stream->write(std::as_bytes(std::span(answer)), {});
  const comm::Status status = line->wait_open(comm::in_seconds(20));
  EXPECT_EQ(status.code(), Code::kCorrupt) << status.text();
  EXPECT_THAT(status.message(), HasSubstr("is it the coordinator of a Rondo job that listens there"));
}

TEST(Line, ClosesAtOnceWhileItStillCalls) {
  Entrance entrance({"tcp:127.0.0.1:0"});
  const comm::Address address = entrance.address();
  entrance.door().close(kNow);
  const auto line = line_to({address}, 1, 3600);
  line->close(comm::in_seconds(3600));
  EXPECT_EQ(line->status().code(), Code::kClosed);
}

}  // namespace
}  // namespace rondo::test
