// Chains against trust anchors and revocation lists (RFC 5280 section 6).
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "crypto/certificate.hpp"
#include "crypto/ike.hpp"
#include "crypto/ocsp.hpp"
#include "crypto/pem.hpp"
#include "crypto/x509.hpp"

namespace espgate::crypto {
namespace {

using Store = std::unique_ptr<X509_STORE, openssl::Deleter<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, openssl::Deleter<X509_STORE_CTX_free>>;
using Crl = std::unique_ptr<X509_CRL, openssl::Deleter<X509_CRL_free>>;
using openssl::Stack;
using openssl::unix_time;

// Below 112 bits of security nothing counts: SHA-1, RSA of less than 2048 bits (NIST SP 800-57).
constexpr int kAuthLevel = 2;
constexpr int kMostIntermediates = 8;

std::string quoted(const X509_NAME* name) {
  const unsigned char* der = nullptr;
  std::size_t length = 0;
  if (name == nullptr || X509_NAME_get0_der(name, &der, &length) != 1) return "?";
  std::string out("\"");
  return out.append(directory_words({der, length})).append("\"");
}

void add_crl(X509_STORE* store, Bytes der, std::vector<TrustStore::List>& lists) {
  const unsigned char* at = der.data();
  const Crl crl(d2i_X509_CRL(nullptr, &at, static_cast<long>(der.size())));
  ERR_clear_error();
  if (!crl || at != der.data() + der.size())
    throw std::runtime_error("a certificate revocation list that can't be read");
  openssl::require(X509_STORE_add_crl(store, crl.get()) == 1, "a revocation list");
  lists.push_back({quoted(X509_CRL_get_issuer(crl.get())), unix_time(X509_CRL_get0_nextUpdate(crl.get()))});
}

void add_crls(X509_STORE* store, Bytes file, std::vector<TrustStore::List>& lists) {
  if (!is_pem(file)) return add_crl(store, file, lists);
  std::size_t count = 0;
  for (const PemBlock& block : read_pem(file)) {
    if (block.label != "X509 CRL") continue;
    add_crl(store, block.der.view(), lists);
    ++count;
  }
  if (count == 0) throw std::runtime_error("no certificate revocation list");
}

// The leaf's issuer must have a list; one further up that has none has revoked nothing.
int judge(int good, X509_STORE_CTX* context) {
  if (good == 0 && X509_STORE_CTX_get_error(context) == X509_V_ERR_UNABLE_TO_GET_CRL &&
      X509_STORE_CTX_get_error_depth(context) > 0)
    return 1;
  return good;
}

std::string date(const ASN1_TIME* time) {
  const std::int64_t when = unix_time(time);
  return when == 0 ? "a time that is not valid" : utc_words(when);
}

std::string subject_words(const X509* certificate) {
  return quoted(certificate == nullptr ? nullptr : X509_get_subject_name(certificate));
}

std::string issuer_words(const X509* certificate) {
  return quoted(certificate == nullptr ? nullptr : X509_get_issuer_name(certificate));
}

// "the certificate ...", or of its authority: the words that follow say what is wrong with it.
std::string culprit(X509_STORE_CTX* context) {
  const std::string subject = subject_words(X509_STORE_CTX_get_current_cert(context));
  return (X509_STORE_CTX_get_error_depth(context) == 0 ? "its certificate "
                                                       : "the authority's certificate ") +
         subject;
}

Distrusted verdict_of(X509_STORE_CTX* context) {
  X509* current = X509_STORE_CTX_get_current_cert(context);
  const std::string who = culprit(context);
  switch (X509_STORE_CTX_get_error(context)) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {Distrust::expired, who + " has expired on " + date(X509_get0_notAfter(current))};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {Distrust::not_yet_valid, who + " is not valid before " + date(X509_get0_notBefore(current))};
    case X509_V_ERR_CERT_REVOKED:
      return {Distrust::revoked, who + " is revoked by its issuer " + issuer_words(current)};
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return {Distrust::unknown_authority,
              who + " is issued by " + issuer_words(current) +
                  ", which is none of our authorities, nor did the peer send its certificate by one of them"};
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return {Distrust::unknown_authority,
              who + " is not signed by " + issuer_words(current) + ", whom it names as its issuer"};
    case X509_V_ERR_UNABLE_TO_GET_CRL:
      return {Distrust::no_list,
              who + ": none of our revocation lists is that of its issuer " + issuer_words(current)};
    case X509_V_ERR_CRL_HAS_EXPIRED:
      return {Distrust::stale_list,
              "our revocation list of " + issuer_words(current) + " is past its next update"};
    case X509_V_ERR_CRL_NOT_YET_VALID:
      return {Distrust::stale_list, "our revocation list of " + issuer_words(current) + " is not valid yet"};
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
      return {Distrust::no_authority,
              who + " is issued with the certificate of somebody who is no authority"};
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
      return {Distrust::forbidden_name,
              who + " has a name that its authority may not give (name constraints)"};
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
      return {Distrust::no_authority,
              who + ": there are more authorities between it and ours than those may have between"};
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
      return {Distrust::too_weak, who + " has a key that is too small"};
    case X509_V_ERR_CA_MD_TOO_WEAK:
      return {Distrust::too_weak, who + " is signed with a hash that is too weak, such as SHA-1"};
    default:
      return {Distrust::other, who + ": " + X509_verify_cert_error_string(X509_STORE_CTX_get_error(context))};
  }
}

// Who issued the first of a chain that was built; nullptr: it is an anchor itself, and its issuer not known.
CertificatePtr issuer_in(X509_STORE_CTX* context) {
  STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(context);
  const int length = sk_X509_num(chain);
  if (length < 1) return nullptr;
  X509* issuer = sk_X509_value(chain, length > 1 ? 1 : 0);
  if (length == 1 && X509_check_issued(issuer, issuer) != X509_V_OK) return nullptr;
  X509_up_ref(issuer);
  return Certificate::of(issuer);
}

Stack stack_of(std::span<const CertificatePtr> certificates) {
  Stack stack = openssl::required(Stack(sk_X509_new_null()), "a chain");
  for (const CertificatePtr& certificate : certificates)
    openssl::require(sk_X509_push(stack.get(), certificate->handle()) > 0, "a chain");
  return stack;
}

std::vector<std::uint8_t> key_hash(const Certificate& certificate) {
  unsigned char* der = nullptr;
  const int length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.handle()), &der);
  openssl::require(length > 0, "an authority's key");
  std::vector<std::uint8_t> out = sha1({Bytes(der, static_cast<std::size_t>(length))});
  OPENSSL_free(der);
  return out;
}

}  // namespace

std::shared_ptr<const TrustStore> TrustStore::make(std::span<const CertificatePtr> anchors,
                                                   std::span<const Bytes> crls) {
  Store store = openssl::required(Store(X509_STORE_new()), "a trust store");
  std::shared_ptr<TrustStore> out(new TrustStore);
  for (const CertificatePtr& anchor : anchors) {
    openssl::require(X509_STORE_add_cert(store.get(), anchor->handle()) == 1, "a trust anchor");
    const std::vector<std::uint8_t> hash = key_hash(*anchor);
    out->hashes_.insert(out->hashes_.end(), hash.begin(), hash.end());
  }
  for (const Bytes crl : crls) add_crls(store.get(), crl, out->lists_);
  X509_VERIFY_PARAM* policy = X509_STORE_get0_param(store.get());
  X509_VERIFY_PARAM_set_auth_level(policy, kAuthLevel);
  X509_VERIFY_PARAM_set_depth(policy, kMostIntermediates);
  // An anchor need not be a root: what the operator names is what is trusted.
  unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN;
  if (!crls.empty()) flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
  X509_VERIFY_PARAM_set_flags(policy, flags);
  X509_STORE_set_verify_cb(store.get(), judge);
  out->store_ = std::shared_ptr<X509_STORE>(std::move(store));
  return out;
}

std::optional<Distrusted> TrustStore::refuse(const Certificate& leaf, const Enclosed& enclosed,
                                             std::int64_t when) const {
  auto verdict = refuse_any(leaf, enclosed, when);
  if (const std::string usage = leaf.foreign_usage(); !verdict && !usage.empty())
    verdict = Distrusted{Distrust::other,
                         "its certificate is for other things than IKE (extended key usage): " + usage};
  return verdict;
}

std::optional<Distrusted> TrustStore::refuse_any(const Certificate& leaf, const Enclosed& enclosed,
                                                 std::int64_t when) const {
  const Stack untrusted = stack_of(enclosed.others);
  const StoreContext context = openssl::required(StoreContext(X509_STORE_CTX_new()), "a chain");
  openssl::require(X509_STORE_CTX_init(context.get(), store_.get(), leaf.handle(), untrusted.get()) == 1,
                   "a chain");
  X509_STORE_CTX_set_time(context.get(), 0, static_cast<time_t>(when));
  const bool trusted = X509_verify_cert(context.get()) == 1;
  std::optional<Distrusted> verdict;
  if (!trusted) verdict = verdict_of(context.get());
  ERR_clear_error();
  if (trusted && !leaf.may_sign())
    verdict = Distrusted{Distrust::other, "its certificate is not for signatures (key usage)"};
  if (verdict || (enclosed.responses.empty() && !enclosed.needs_response)) return verdict;
  return refuse_status(leaf, issuer_in(context.get()), enclosed, when);
}

// A responder that the issuer certified is checked as the peer's own certificate is, revocation lists and
// all.
std::optional<Distrusted> TrustStore::refuse_status(const Certificate& leaf, const CertificatePtr& issuer,
                                                    const Enclosed& enclosed, std::int64_t when) const {
  if (!issuer)
    return Distrusted{Distrust::bad_status,
                      "its issuer is not known, so nobody can say whether it is revoked"};
  const auto check = [&](const Certificate& responder) {
    return refuse_any(responder, {enclosed.others, {}, false}, when);
  };
  bool any = false;
  for (const Bytes response : enclosed.responses) {
    const OcspVerdict verdict = ocsp_verdict(response, leaf, *issuer, when, check);
    if (!verdict.about_it) continue;  // of one of its authorities
    if (verdict.refused) return verdict.refused;
    any = true;
  }
  if (any || !enclosed.needs_response) return std::nullopt;
  return Distrusted{Distrust::no_status,
                    "it sent no OCSP response for its certificate " + leaf.words() + ", and we require one"};
}

}  // namespace espgate::crypto
