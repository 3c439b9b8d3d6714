#include "launcher/control/authority.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <ctime>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

constexpr char kKeyLabel[] = "rondo control plane: key of the job's authority, version 1";
constexpr long kDay = 24 * 60 * 60;
constexpr size_t kLongestName = 64;  // X.520's bound of a common name

comm::Status cannot(const std::string& what) {
  return {comm::Code::kResource, "libcrypto cannot " + what + "; is OpenSSL 3 restricted by a policy on this host?"};
}

using KeySeed = std::array<unsigned char, 32>;

/// RFC 5869 with an empty salt: the secret is uniform already.
bool derive(const comm::Secret& secret, KeySeed& into) {
  const std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr), &EVP_KDF_free);
  if (!kdf) return false;
  const std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(EVP_KDF_CTX_new(kdf.get()),
                                                                          &EVP_KDF_CTX_free);
  if (!context) return false;
  char hash[] = "SHA256";
  const auto bytes = secret.bytes();
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<std::byte*>(bytes.data()), bytes.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, const_cast<char*>(kKeyLabel), sizeof kKeyLabel - 1),
      OSSL_PARAM_construct_end()};
  return EVP_KDF_derive(context.get(), into.data(), into.size(), parameters) == 1;
}

bool add_name(X509_NAME* name, const char* field, const std::string& text) {
  const std::string kept = text.empty() ? "?" : text.substr(0, kLongestName);
  return X509_NAME_add_entry_by_txt(name, field, V_ASN1_UTF8STRING, reinterpret_cast<const unsigned char*>(kept.data()),
                                    static_cast<int>(kept.size()), -1, 0) == 1;
}

bool add_extension(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, &context, kind, value), &X509_EXTENSION_free);
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

/// Nothing in it depends on time or chance, and Ed25519 signs without chance: every holder builds the same bytes.
Certificate certify_authority(EVP_PKEY* key) {
  Certificate made(X509_new());
  if (!made) return nullptr;
  X509* certificate = made.get();
  X509_NAME* name = X509_get_subject_name(certificate);
  const bool good = X509_set_version(certificate, X509_VERSION_3) == 1 &&
                    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1 &&
                    ASN1_TIME_set_string(X509_getm_notBefore(certificate), "20000101000000Z") == 1 &&
                    ASN1_TIME_set_string(X509_getm_notAfter(certificate), "99991231235959Z") == 1 &&
                    X509_set_pubkey(certificate, key) == 1 && add_name(name, "CN", "authority of a Rondo job") &&
                    X509_set_issuer_name(certificate, name) == 1 &&
                    add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
                    add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign") &&
                    add_extension(certificate, certificate, NID_subject_key_identifier, "hash") &&
                    X509_sign(certificate, key, nullptr) > 0;
  return good ? std::move(made) : nullptr;
}

bool draw_serial(X509* certificate) {
  unsigned char bytes[8];
  if (RAND_bytes(bytes, sizeof bytes) != 1) return false;
  uint64_t number = 0;
  for (const unsigned char byte : bytes) number = number << 8 | byte;
  return ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), number >> 1) == 1;
}

Certificate certify_holder(EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key, const Holder& holder, Side side) {
  Certificate made(X509_new());
  if (!made) return nullptr;
  X509* certificate = made.get();
  X509_NAME* name = X509_get_subject_name(certificate);
  const bool good = X509_set_version(certificate, X509_VERSION_3) == 1 && draw_serial(certificate) &&
                    X509_gmtime_adj(X509_getm_notBefore(certificate), -kDay) != nullptr &&
                    X509_gmtime_adj(X509_getm_notAfter(certificate), kDay) != nullptr &&
                    X509_set_pubkey(certificate, key) == 1 && add_name(name, "OU", holder.role) &&
                    add_name(name, "CN", holder.host) &&
                    X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
                    add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
                    add_extension(certificate, issuer, NID_key_usage, "critical,digitalSignature") &&
                    add_extension(certificate, issuer, NID_ext_key_usage,
                                  side == Side::kAnswers ? "critical,serverAuth" : "critical,clientAuth") &&
                    add_extension(certificate, issuer, NID_authority_key_identifier, "keyid:always") &&
                    X509_sign(certificate, issuer_key, nullptr) > 0;
  return good ? std::move(made) : nullptr;
}

std::string name_entry(const X509& certificate, int field) {
  X509_NAME* name = X509_get_subject_name(&certificate);
  const int at = X509_NAME_get_index_by_NID(name, field, -1);
  if (at < 0) return "?";
  const ASN1_STRING* text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
  return printable(
      {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<size_t>(ASN1_STRING_length(text))});
}

}  // namespace

void FreeKey::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }
void FreeCertificate::operator()(x509_st* certificate) const { X509_free(certificate); }

comm::Result<Authority> Authority::of(const comm::Secret& secret) {
  if (secret.empty())
    return comm::Status(comm::Code::kInvalidArgument, "the secret is empty: it would authenticate nobody");
  KeySeed seed;
  const bool derived = derive(secret, seed);
  Key key(derived ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()) : nullptr);
  OPENSSL_cleanse(seed.data(), seed.size());
  if (!key) return cannot("derive the key of the job's authority (HKDF-SHA256, Ed25519)");
  Certificate certificate = certify_authority(key.get());
  if (!certificate) return cannot("make the certificate of the job's authority");
  return Authority(std::move(key), std::move(certificate));
}

comm::Result<Credentials> Authority::mint(const Holder& holder, Side side) const {
  Credentials made;
  made.key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  if (!made.key) return cannot("draw a key (Ed25519)");
  made.certificate = certify_holder(made.key.get(), certificate_.get(), key_.get(), holder, side);
  if (!made.certificate) return cannot("make a certificate for " + holder.role + " on " + holder.host);
  return made;
}

std::string holder_of(const x509_st& certificate) {
  return name_entry(certificate, NID_organizationalUnitName) + " on " + name_entry(certificate, NID_commonName);
}

}  // namespace rondo::launcher
