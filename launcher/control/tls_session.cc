#include "launcher/control/tls_session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <utility>

namespace rondo::launcher {
namespace {

/// A TLS 1.3 client is done before the server has looked at its certificate. One byte from the server says that it has.
constexpr char kWelcome = 'R';
constexpr size_t kMostHeld = 64 * 1024;  // of records that came and are not yet read

comm::Status not_possible(const char* what) {
  ERR_clear_error();
  return {comm::Code::kResource, std::string("libssl cannot ") + what};
}

/// The newest entry of OpenSSL's queue of this thread, which is emptied.
std::string newest_error() {
  const unsigned long error = ERR_peek_last_error();
  const char* words = error == 0 ? nullptr : ERR_reason_error_string(error);
  ERR_clear_error();
  return words == nullptr ? "the connection broke" : words;
}

/// By verification: whether the certificate is of another authority, or only out of its time.
comm::Status refused_certificate(long verdict) {
  const std::string words = X509_verify_cert_error_string(verdict);
  if (verdict == X509_V_ERR_CERT_NOT_YET_VALID || verdict == X509_V_ERR_CERT_HAS_EXPIRED) {
    return {comm::Code::kUnauthenticated,
            "the other side's certificate is out of its time (" + words +
                "): the clocks of the two hosts are more than a day apart; set them (timedatectl, chronyc)"};
  }
  return {comm::Code::kUnauthenticated,
          "another secret: RONDO_SECRET_FILE differs between the hosts, or the other side is of another job (" + words +
              "); make one by `rondo secret new` and copy it to all hosts"};
}

/// The alert with which the other side refused us, if `error` is one.
bool is_refusal(unsigned long error) {
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return false;
  switch (ERR_GET_REASON(error)) {
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
      return true;
    default:
      return false;
  }
}

bool no_certificate(unsigned long error) {
  return ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
}

}  // namespace

void TlsContext::Free::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }
void TlsSession::Free::operator()(ssl_st* session) const { SSL_free(session); }

comm::Result<TlsContext> TlsContext::make(const Authority& authority, const Holder& holder, Side side) {
  auto credentials = authority.mint(holder, side);
  RONDO_TRY(credentials);
  return with(authority, *credentials, side);
}

comm::Result<TlsContext> TlsContext::with(const Authority& authority, const Credentials& credentials, Side side) {
  std::unique_ptr<ssl_ctx_st, Free> context(
      SSL_CTX_new(side == Side::kAnswers ? TLS_server_method() : TLS_client_method()));
  if (!context) return not_possible("make a context");
  SSL_CTX* raw = context.get();
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_verify_depth(raw, 1);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_options(raw, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_max_cert_list(raw, static_cast<long>(TlsSession::kMostBeforeProof));
  X509_STORE* store = SSL_CTX_get_cert_store(raw);  // empty: no system store
  const bool good = SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION) == 1 && SSL_CTX_set_num_tickets(raw, 0) == 1 &&
                    X509_STORE_add_cert(store, const_cast<X509*>(authority.certificate())) == 1 &&
                    SSL_CTX_use_certificate(raw, credentials.certificate.get()) == 1 &&
                    SSL_CTX_use_PrivateKey(raw, credentials.key.get()) == 1;
  if (!good) return not_possible("set up TLS 1.3 with Ed25519");
  return TlsContext(std::move(context), side);
}

comm::Result<TlsSession> TlsSession::make(const TlsContext& context) {
  std::unique_ptr<ssl_st, Free> session(SSL_new(context.get()));
  BIO* input = BIO_new(BIO_s_mem());
  BIO* output = BIO_new(BIO_s_mem());
  if (!session || input == nullptr || output == nullptr) {
    BIO_free(input);
    BIO_free(output);
    return not_possible("make a session");
  }
  BIO_set_mem_eof_return(input, -1);  // empty means "more will come"
  SSL_set_bio(session.get(), input, output);
  if (context.side() == Side::kAnswers) {
    SSL_set_accept_state(session.get());
  } else {
    SSL_set_connect_state(session.get());
  }
  return TlsSession(std::move(session), context.side());
}

void TlsSession::feed(std::span<const std::byte> bytes) {
  if (bytes.empty() || !status_.ok()) return;
  if (!proved_) {
    fed_ += bytes.size();
    if (fed_ > kMostBeforeProof && side_ == Side::kAnswers) {
      status_ = {comm::Code::kUnauthenticated, "the other side sent " + std::to_string(fed_) +
                                                   " bytes without proving that it holds the job's secret"};
      return;
    }
  }
  BIO_write(SSL_get_rbio(session_.get()), bytes.data(), static_cast<int>(bytes.size()));
}

bool TlsSession::wants_input() const { return BIO_pending(SSL_get_rbio(session_.get())) < static_cast<int>(kMostHeld); }

std::span<const std::byte> TlsSession::output() const {
  char* bytes = nullptr;
  const long count = BIO_get_mem_data(SSL_get_wbio(session_.get()), &bytes);
  return {reinterpret_cast<const std::byte*>(bytes), count > 0 ? static_cast<size_t>(count) : 0};
}

void TlsSession::sent(size_t bytes) {
  char sink[4096];
  while (bytes > 0) {
    const int taken = BIO_read(SSL_get_wbio(session_.get()), sink, static_cast<int>(std::min(bytes, sizeof sink)));
    if (taken <= 0) return;
    bytes -= static_cast<size_t>(taken);
  }
}

comm::Progress TlsSession::prove() {
  if (!status_.ok()) return comm::Progress::kFailed;
  if (proved_) return comm::Progress::kDone;
  if (!handshake_done_) {
    ERR_clear_error();
    const int result = SSL_do_handshake(session_.get());
    if (result != 1) {
      const int reason = SSL_get_error(session_.get(), result);
      if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) return comm::Progress::kBlocked;
      return fail("the handshake");
    }
    handshake_done_ = true;
  }
  return exchange_welcome();
}

comm::Progress TlsSession::exchange_welcome() {
  ERR_clear_error();
  if (side_ == Side::kAnswers) {
    if (SSL_write(session_.get(), &kWelcome, 1) != 1) return fail("the welcome");
  } else {
    char welcome = 0;
    const int count = SSL_read(session_.get(), &welcome, 1);
    if (count != 1) {
      if (SSL_get_error(session_.get(), count) == SSL_ERROR_WANT_READ) return comm::Progress::kBlocked;
      return fail("the welcome");
    }
    if (welcome != kWelcome) {
      status_ = {comm::Code::kCorrupt, "the other side holds the secret but is no door of Rondo's of this version"};
      return comm::Progress::kFailed;
    }
  }
  proved_ = true;
  return comm::Progress::kDone;
}

comm::Progress TlsSession::fail(const char* during) {
  const unsigned long error = ERR_peek_last_error();
  const long verdict = SSL_get_verify_result(session_.get());
  if (verdict != X509_V_OK) {
    status_ = refused_certificate(verdict);
  } else if (no_certificate(error)) {
    status_ = {comm::Code::kUnauthenticated, "the other side showed no certificate: it does not hold the job's secret"};
  } else if (is_refusal(error)) {
    status_ = {comm::Code::kUnauthenticated,
               "the other side refused this one's certificate: another secret: RONDO_SECRET_FILE differs between the "
               "hosts, or the clocks do; make one by `rondo secret new` and copy it to all hosts"};
  } else {
    status_ = {comm::Code::kCorrupt, std::string("TLS 1.3 failed in ") + during + ": " + newest_error()};
  }
  ERR_clear_error();
  return comm::Progress::kFailed;
}

comm::IoResult TlsSession::read(std::span<std::byte> into) {
  using State = comm::IoResult::State;
  if (!status_.ok()) return {State::kFailed};
  ERR_clear_error();
  size_t count = 0;
  const int result = SSL_read_ex(session_.get(), into.data(), into.size(), &count);
  if (result == 1) return {State::kDone, count};
  switch (SSL_get_error(session_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return {State::kWouldBlock};
    case SSL_ERROR_ZERO_RETURN:
      return {State::kClosed};
    default:
      fail("reading");
      return {State::kFailed};
  }
}

comm::IoResult TlsSession::write(std::span<const std::byte> bytes) {
  using State = comm::IoResult::State;
  if (!status_.ok()) return {State::kFailed};
  if (bytes.empty()) return {};
  ERR_clear_error();
  size_t count = 0;
  const int result = SSL_write_ex(session_.get(), bytes.data(), bytes.size(), &count);
  if (result == 1) return {State::kDone, count};
  fail("writing");  // memory takes everything: there is nothing to wait for
  return {State::kFailed};
}

void TlsSession::end() {
  ERR_clear_error();
  SSL_shutdown(session_.get());
  ERR_clear_error();
}

std::string TlsSession::peer() const {
  const X509* certificate = SSL_get0_peer_certificate(session_.get());
  return certificate == nullptr ? "?" : holder_of(*certificate);
}

}  // namespace rondo::launcher
