// X.509 certificates, and what makes one trusted (RFC 5280, RFC 4945), on OpenSSL. Objects are immutable, and
// may be used by any thread.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "crypto/signature.hpp"

struct x509_st;
struct x509_store_st;

namespace espgate::crypto {

// "2026-12-31 23:59:59 UTC", of Unix time.
[[nodiscard]] std::string utc_words(std::int64_t time);

// Where an identity stands in a certificate: the subject, or an entry of its subjectAltName.
enum class NameKind : std::uint8_t { directory, dns, email, address };

class Certificate {
 public:
  // nullptr: not one certificate in DER, or with an error in its extensions. May have a key of any kind.
  [[nodiscard]] static std::shared_ptr<const Certificate> from_der(Bytes der);
  [[nodiscard]] static std::shared_ptr<const Certificate> of(x509_st* taken);

  [[nodiscard]] Bytes der() const noexcept { return der_; }
  [[nodiscard]] Bytes subject() const noexcept { return subject_; }  // a Name in DER; empty: it has none
  [[nodiscard]] std::string words() const;                           // the subject, for people
  [[nodiscard]] bool is_self_issued() const;
  // Throws std::runtime_error as PublicKey::of.
  [[nodiscard]] std::shared_ptr<const PublicKey> public_key() const;
  // Seconds of Unix time.
  [[nodiscard]] std::int64_t not_before() const noexcept { return not_before_; }
  [[nodiscard]] std::int64_t not_after() const noexcept { return not_after_; }
  // Whether it is for the holder of this name. `value` as in an ID payload: a Name in DER, text, 4 or 16
  // bytes. Domain names, and the domains of mailboxes, without regard to case (RFC 4945 section 3.1); no
  // wildcards.
  [[nodiscard]] bool names(NameKind kind, Bytes value) const;
  // All that it names, for people: "C=DE, CN=west; dns west.example".
  [[nodiscard]] std::string all_names() const;
  // RFC 4945 section 5.1.3.2: a key usage, if there is one, lets it sign.
  [[nodiscard]] bool may_sign() const;
  // An extended key usage, if there is one, has one for IKE, or for TLS, as many authorities give nothing
  // else: ipsecIKE, ipsecEndSystem, ipsecTunnel, ipsecUser, iKEIntermediate, serverAuth, clientAuth, or any
  // (RFC 4945 section 5.1.3.12 is narrower). Empty: so it is; else for people what it is for.
  [[nodiscard]] std::string foreign_usage() const;

  [[nodiscard]] x509_st* handle() const noexcept { return handle_.get(); }  // for crypto/ itself

 private:
  Certificate() = default;
  std::shared_ptr<x509_st> handle_;
  std::vector<std::uint8_t> der_, subject_;
  std::int64_t not_before_{0}, not_after_{0};
};

using CertificatePtr = std::shared_ptr<const Certificate>;

// All of a file: in PEM one after the other, or one in DER. Throws std::runtime_error with words.
[[nodiscard]] std::vector<CertificatePtr> read_certificates(Bytes file);

// A Name in DER as people write it, "C=DE, O=Example, CN=west"; what is not printable is escaped. And two
// Names compared as RFC 5280 section 7.1 has it: case and runs of spaces do not count, nor the kind of
// string.
[[nodiscard]] std::string directory_words(Bytes der);
[[nodiscard]] bool same_directory_name(Bytes a, Bytes b);
// Names that are the same have the same; 0 of what is no name.
[[nodiscard]] std::uint32_t directory_hash(Bytes der);
// The same but for attributes that are `*` in `pattern`.
[[nodiscard]] bool fits_directory_pattern(Bytes name, Bytes pattern);

// What a PKCS#12 file holds. Throws std::runtime_error with words: a wrong password, no key, no certificate.
struct Pkcs12 {
  std::shared_ptr<const PrivateKey> key;
  std::vector<CertificatePtr> chain;  // that of the key first
};
[[nodiscard]] Pkcs12 read_pkcs12(Bytes file, Bytes password);

// Why a certificate is not believed.
enum class Distrust : std::uint8_t {
  none,
  none_sent,
  expired,
  not_yet_valid,
  revoked,
  unknown_authority,
  forbidden_name,  // name constraints
  other_name,      // it is for somebody else
  no_authority,    // of its issuer's certificate, or too many between
  too_weak,
  no_list,  // revocation lists
  stale_list,
  no_status,  // OCSP
  stale_status,
  bad_status,
  other
};
// `words` follow the name of whose certificate it is.
struct Distrusted {
  Distrust why{};
  std::string words;
};

// What came along with a certificate from its holder. That is not believed in itself.
struct Enclosed {
  std::span<const CertificatePtr> others;  // in any order
  std::span<const Bytes> responses;        // OCSP's (RFC 6960), in DER: what there is of it must be good
  bool needs_response{false};
};

// Trust anchors and revocation lists. Many tunnels may share one.
class TrustStore {
 public:
  // Each of `crls` is a file with lists in PEM, or one in DER. With at least one, the issuer of every peer's
  // certificate must have a list that is not past its next update; issuers further up may have one. Throws
  // std::runtime_error with words.
  [[nodiscard]] static std::shared_ptr<const TrustStore> make(std::span<const CertificatePtr> anchors,
                                                              std::span<const Bytes> crls);

  // Why `leaf` is not trusted for IKE at `when` (Unix time); nullopt: it is.
  [[nodiscard]] std::optional<Distrusted> refuse(const Certificate& leaf, const Enclosed& enclosed,
                                                 std::int64_t when) const;
  // Of each revocation list when the next is due, in Unix time.
  struct List {
    std::string issuer;  // for people
    std::int64_t next_update{0};
  };
  [[nodiscard]] const std::vector<List>& lists() const noexcept { return lists_; }
  // Of each anchor the SHA-1 of its SubjectPublicKeyInfo, one after the other (RFC 7296 section 3.7).
  [[nodiscard]] Bytes authority_hashes() const noexcept { return hashes_; }

 private:
  TrustStore() = default;
  // Whatever it is used for.
  [[nodiscard]] std::optional<Distrusted> refuse_any(const Certificate& leaf, const Enclosed& enclosed,
                                                     std::int64_t when) const;
  [[nodiscard]] std::optional<Distrusted> refuse_status(const Certificate& leaf, const CertificatePtr& issuer,
                                                        const Enclosed& enclosed, std::int64_t when) const;
  std::shared_ptr<x509_store_st> store_;
  std::vector<std::uint8_t> hashes_;
  std::vector<List> lists_;
};

}  // namespace espgate::crypto
