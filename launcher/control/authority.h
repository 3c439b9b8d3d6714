/// The certificate authority of a job, derived from the job's secret: whoever holds the secret has the same one, and so
/// can prove itself to every other holder by a certificate of its own making. Nothing is written to disk, nothing is
/// asked of a certificate store, and no name is checked: the secret is the identity.
///
///   secret -- HKDF-SHA256 --> Ed25519 key of the authority -- signs --> a fresh Ed25519 key of this process, for a day
///
/// Threading: constant after construction; may be used from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "rondo/comm/secret.h"
#include "rondo/comm/status.h"

// OpenSSL's, so that its headers stay in two sources.
struct evp_pkey_st;
struct x509_st;

namespace rondo::launcher {

struct FreeKey {
  void operator()(evp_pkey_st* key) const;
};
struct FreeCertificate {
  void operator()(x509_st* certificate) const;
};
using Key = std::unique_ptr<evp_pkey_st, FreeKey>;
using Certificate = std::unique_ptr<x509_st, FreeCertificate>;

/// Which side of a connection a certificate is good for: one cannot be turned back on whom it came from.
enum class Side : uint8_t { kCalls, kAnswers };

/// What a certificate says about its holder, for messages; at most 64 bytes each are kept.
struct Holder {
  std::string role;  // "coordinator", "agent", "terminal"
  std::string host;
};

/// A key and the certificate over it.
struct Credentials {
  Key key;
  Certificate certificate;
};

class Authority {
 public:
  /// kInvalidArgument for the empty secret, kResource when libcrypto cannot do it.
  static comm::Result<Authority> of(const comm::Secret& secret);

  /// Draws a key and certifies it, from a day ago until in a day: clocks of hosts may be that far apart.
  comm::Result<Credentials> mint(const Holder& holder, Side side) const;

  /// The authority's own certificate: the same bytes for every holder of the secret.
  const x509_st* certificate() const { return certificate_.get(); }

 private:
  Authority(Key key, Certificate certificate) : key_(std::move(key)), certificate_(std::move(certificate)) {}
  Key key_;
  Certificate certificate_;
};

/// Who the holder of a certificate says it is, printable: "agent on node-3".
std::string holder_of(const x509_st& certificate);

}  // namespace rondo::launcher
