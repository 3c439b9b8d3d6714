/// Who holds the secret of a job can prove it to every other holder, and nobody else can: by TLS sessions in memory.
#include "launcher/control/authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <array>
#include <ctime>
#include <memory>

#include "launcher/control/tls_session.h"
#include "tests/launcher/control/guests.h"

namespace rondo::test {
namespace {

using comm::Code;
using comm::Progress;
using launcher::Authority;
using launcher::Holder;
using launcher::Side;
using launcher::TlsContext;
using launcher::TlsSession;
using testing::HasSubstr;

TlsSession session_of(const Authority& authority, Side side, const Holder& holder = {"agent", "node-3"}) {
  return TlsSession::make(TlsContext::make(authority, holder, side).value()).value();
}

void pass(TlsSession& from, TlsSession& to) {
  const auto bytes = from.output();
  to.feed(bytes);
  from.sent(bytes.size());
}

struct Proofs {
  Progress calls = Progress::kBlocked, answers = Progress::kBlocked;
};

/// Lets the two talk until both have decided.
Proofs let_prove(TlsSession& calls, TlsSession& answers) {
  Proofs proofs;
  for (int turn = 0; turn < 10; ++turn) {
    proofs.calls = calls.prove();
    pass(calls, answers);
    proofs.answers = answers.prove();
    pass(answers, calls);
  }
  return proofs;
}

std::string read_all(TlsSession& session) {
  std::string text;
  std::array<std::byte, 1000> piece;
  for (;;) {
    const auto got = session.read(piece);
    if (got.state != comm::IoResult::State::kDone) return text;
    text.append(reinterpret_cast<const char*>(piece.data()), got.bytes);
  }
}

TEST(Authority, TwoHoldersOfOneSecretProveThemselvesAndTalk) {
  const Authority here = authority_of(1), there = authority_of(1);  // derived twice, as on two hosts
  TlsSession calls = session_of(here, Side::kCalls);
  TlsSession answers = session_of(there, Side::kAnswers, {"coordinator", "node-0"});
  const Proofs proofs = let_prove(calls, answers);
  ASSERT_EQ(proofs.calls, Progress::kDone) << calls.status().text();
  ASSERT_EQ(proofs.answers, Progress::kDone) << answers.status().text();
  EXPECT_EQ(answers.peer(), "agent on node-3");
  EXPECT_EQ(calls.peer(), "coordinator on node-0");

  const std::string text = pattern(40'000, 1);
  for (size_t at = 0; at < text.size();) {
    const auto went = calls.write(std::as_bytes(std::span(text)).subspan(at));
    ASSERT_GT(went.bytes, 0u);
    at += went.bytes;
  }
  pass(calls, answers);
  EXPECT_EQ(read_all(answers), text);
  answers.end();
  pass(answers, calls);
  std::array<std::byte, 10> piece;
  EXPECT_EQ(calls.read(piece).state, comm::IoResult::State::kClosed);
}

TEST(Authority, AnotherSecretIsRefusedOnBothSides) {
  TlsSession calls = session_of(authority_of(1), Side::kCalls);
  TlsSession answers = session_of(authority_of(2), Side::kAnswers);
  const Proofs proofs = let_prove(calls, answers);
  EXPECT_EQ(proofs.calls, Progress::kFailed);
  EXPECT_EQ(proofs.answers, Progress::kFailed);
  for (const TlsSession* side : {&calls, &answers}) {
    EXPECT_EQ(side->status().code(), Code::kUnauthenticated);
    EXPECT_THAT(side->status().message(), HasSubstr("another secret: RONDO_SECRET_FILE differs between the hosts"));
    EXPECT_FALSE(side->proved());
  }
}

TEST(Authority, ACertificateCannotBeTurnedBackOnItsKind) {
  // An answering side's certificate, shown by one that calls: as if somebody reflected a connection.
  const Authority authority = authority_of(1);
  const auto reflected = authority.mint({"coordinator", "node-0"}, Side::kAnswers);
  ASSERT_TRUE(reflected.ok());
  TlsSession calls = TlsSession::make(TlsContext::with(authority, *reflected, Side::kCalls).value()).value();
  TlsSession answers = session_of(authority, Side::kAnswers);
  const Proofs proofs = let_prove(calls, answers);
  EXPECT_EQ(proofs.answers, Progress::kFailed);
  EXPECT_EQ(proofs.calls, Progress::kFailed);
  EXPECT_EQ(answers.status().code(), Code::kUnauthenticated) << answers.status().text();
  EXPECT_EQ(calls.status().code(), Code::kUnauthenticated) << calls.status().text();
}

TEST(Authority, WhoCallsIsProvedOnlyWhenTheOtherSideSaysSo) {
  TlsSession calls = session_of(authority_of(1), Side::kCalls);
  TlsSession answers = session_of(authority_of(1), Side::kAnswers);
  calls.prove();
  pass(calls, answers);
  answers.prove();
  pass(answers, calls);
  EXPECT_EQ(calls.prove(), Progress::kBlocked) << "its own certificate is under way, unread";
  EXPECT_FALSE(calls.proved());
  pass(calls, answers);
  EXPECT_EQ(answers.prove(), Progress::kDone);
  pass(answers, calls);
  EXPECT_EQ(calls.prove(), Progress::kDone);
}

TEST(Authority, GarbageAndPlainHttp2AreNoTls) {
  for (const std::string& bytes :
       {std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), pattern(1000, 3), std::string(100, '\0')}) {
    TlsSession answers = session_of(authority_of(1), Side::kAnswers);
    answers.feed(std::as_bytes(std::span(bytes)));
    EXPECT_EQ(answers.prove(), Progress::kFailed);
    EXPECT_EQ(answers.status().code(), Code::kCorrupt) << answers.status().text();
  }
}

TEST(Authority, MoreBytesThanAProofNeedsAreRefused) {
  TlsSession answers = session_of(authority_of(1), Side::kAnswers);
  // The head of a record that promises 16 KiB, and then only its content.
  std::string record("\x16\x03\x01\x40\x00\x01\x00\xff\xff", 9);
  record += std::string(TlsSession::kMostBeforeProof, 'x');
  answers.feed(std::as_bytes(std::span(record)));
  EXPECT_EQ(answers.prove(), Progress::kFailed);
  EXPECT_EQ(answers.status().code(), Code::kUnauthenticated) << answers.status().text();
  EXPECT_THAT(answers.status().message(), HasSubstr("without proving"));
}

/// A client of OpenSSL's own, which has no certificate and takes any.
std::string hello_of_a_stranger(int newest_version, TlsSession& answers) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
  SSL_CTX_set_max_proto_version(context.get(), newest_version);
  const std::unique_ptr<SSL, decltype(&SSL_free)> stranger(SSL_new(context.get()), &SSL_free);
  SSL_set_bio(stranger.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_connect_state(stranger.get());
  std::array<std::byte, 16 * 1024> piece;
  for (int turn = 0; turn < 5; ++turn) {
    SSL_do_handshake(stranger.get());
    const int said = BIO_read(SSL_get_wbio(stranger.get()), piece.data(), static_cast<int>(piece.size()));
    if (said > 0) answers.feed(std::span(piece).first(static_cast<size_t>(said)));
    answers.prove();
    const auto answer = answers.output();
    if (!answer.empty()) BIO_write(SSL_get_rbio(stranger.get()), answer.data(), static_cast<int>(answer.size()));
    answers.sent(answer.size());
  }
  return answers.status().text();
}

TEST(Authority, WhoShowsNoCertificateOrSpeaksAnOlderTlsIsRefused) {
  TlsSession answers = session_of(authority_of(1), Side::kAnswers);
  EXPECT_THAT(hello_of_a_stranger(TLS1_3_VERSION, answers), HasSubstr("kUnauthenticated: the other side showed no"));
  EXPECT_FALSE(answers.proved());
  TlsSession modern = session_of(authority_of(1), Side::kAnswers);
  EXPECT_THAT(hello_of_a_stranger(TLS1_2_VERSION, modern), HasSubstr("kCorrupt: TLS 1.3 failed"));
  EXPECT_FALSE(modern.proved());
}

TEST(Authority, ClocksMoreThanADayApartAreNamed) {
  for (const time_t days : {-3, 3}) {
    const auto context = TlsContext::make(authority_of(1), {"coordinator", "node-0"}, Side::kAnswers);
    ASSERT_TRUE(context.ok());
    X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(context->get()), std::time(nullptr) + days * 24 * 60 * 60);
    TlsSession answers = TlsSession::make(*context).value();
    TlsSession calls = session_of(authority_of(1), Side::kCalls);
    EXPECT_EQ(let_prove(calls, answers).answers, Progress::kFailed);
    EXPECT_EQ(answers.status().code(), Code::kUnauthenticated);
    EXPECT_THAT(answers.status().message(), HasSubstr("clocks of the two hosts are more than a day apart"));
    EXPECT_THAT(calls.status().message(), HasSubstr("or the clocks do"));
  }
}

TEST(Authority, OfTheEmptySecretThereIsNone) {
  EXPECT_EQ(Authority::of(comm::Secret()).status().code(), Code::kInvalidArgument);
}

TEST(Authority, NamesInCertificatesCannotSteerATerminal) {
  const Holder holder{"agent", std::string("no\x1b[2Jde") + std::string(100, 'x')};
  TlsSession calls = session_of(authority_of(1), Side::kCalls, holder);
  TlsSession answers = session_of(authority_of(1), Side::kAnswers);
  ASSERT_EQ(let_prove(calls, answers).answers, Progress::kDone);
  EXPECT_THAT(answers.peer(), HasSubstr("no\\x1b[2Jde"));
  EXPECT_LT(answers.peer().size(), 100u);
}

}  // namespace
}  // namespace rondo::test
