#include "crypto/ocsp.hpp"

#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "crypto/x509.hpp"

namespace espgate::crypto {
namespace {

using Response = std::unique_ptr<OCSP_RESPONSE, openssl::Deleter<OCSP_RESPONSE_free>>;
using Basic = std::unique_ptr<OCSP_BASICRESP, openssl::Deleter<OCSP_BASICRESP_free>>;
using CertificateId = std::unique_ptr<OCSP_CERTID, openssl::Deleter<OCSP_CERTID_free>>;
using openssl::Stack;
using openssl::unix_time;

constexpr std::int64_t kSkew = 300;           // seconds that clocks may differ
constexpr std::int64_t kWithoutEnd = 86'400;  // how old a response without a next update may be

// What is in it, or why there is nothing.
struct Decoded {
  Basic basic;
  std::string objection;
};
Decoded decode(Bytes der) {
  const unsigned char* at = der.data();
  const Response response(d2i_OCSP_RESPONSE(nullptr, &at, static_cast<long>(der.size())));
  if (!response || at != der.data() + der.size()) return {nullptr, "can't be read"};
  const int status = OCSP_response_status(response.get());
  if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
    return {nullptr, std::string("says nothing but ") + OCSP_response_status_str(status)};
  Basic basic(OCSP_response_get1_basic(response.get()));
  if (!basic) return {nullptr, "can't be read"};
  return {std::move(basic), {}};
}

// Whether the ID, which hashes the issuer's name and key in a way of its own, is that of `leaf`.
bool is_of(const OCSP_SINGLERESP* single, const X509* leaf, const X509* issuer) {
  const OCSP_CERTID* id = OCSP_SINGLERESP_get0_id(single);
  ASN1_OBJECT* algorithm = nullptr;
  if (OCSP_id_get0_info(nullptr, &algorithm, nullptr, nullptr, const_cast<OCSP_CERTID*>(id)) != 1)
    return false;
  const EVP_MD* digest = EVP_get_digestbyobj(algorithm);
  if (digest == nullptr) return false;
  const CertificateId ours(OCSP_cert_to_id(digest, leaf, issuer));
  return ours && OCSP_id_cmp(ours.get(), id) == 0;
}

const OCSP_SINGLERESP* find_status(OCSP_BASICRESP* basic, const X509* leaf, const X509* issuer) {
  for (int i = 0; i < OCSP_resp_count(basic); ++i)
    if (const OCSP_SINGLERESP* single = OCSP_resp_get0(basic, i); is_of(single, leaf, issuer)) return single;
  return nullptr;
}

// SHA-1 and whatever else is no scheme of ours counts for nothing.
bool is_strong(const OCSP_BASICRESP* basic) {
  unsigned char* der = nullptr;
  const int length = i2d_X509_ALGOR(OCSP_resp_get0_tbs_sigalg(basic), &der);
  if (length <= 0) return false;
  const bool strong = scheme_of(Bytes(der, static_cast<std::size_t>(length))).has_value();
  OPENSSL_free(der);
  return strong;
}

Distrusted bad(std::string words) { return {Distrust::bad_status, "its OCSP response " + std::move(words)}; }

// RFC 6960 section 4.2.2.2: the issuer itself, or whom it certified for nothing else.
std::optional<Distrusted> check_responder(X509* signer, X509* issuer, const ResponderCheck& check) {
  if (X509_cmp(signer, issuer) == 0) return std::nullopt;
  X509_up_ref(signer);
  const CertificatePtr responder = Certificate::of(signer);
  if (!responder) return bad("is by somebody whose certificate can't be read");
  const bool entitled = (X509_get_extension_flags(signer) & EXFLAG_XKUSAGE) != 0 &&
                        (X509_get_extended_key_usage(signer) & XKU_OCSP_SIGN) != 0;
  const bool issued =
      X509_check_issued(issuer, signer) == X509_V_OK && X509_verify(signer, X509_get0_pubkey(issuer)) == 1;
  if (!entitled || !issued)
    return bad("is by " + responder->words() + ", whom its issuer has not certified for that");
  if (const auto why = check(*responder)) return bad("is by " + responder->words() + ", and " + why->words);
  return std::nullopt;
}

std::optional<Distrusted> check_signature(OCSP_BASICRESP* basic, X509* issuer, const ResponderCheck& check) {
  const Stack issuers = openssl::required(Stack(sk_X509_new_null()), "a responder");
  openssl::require(sk_X509_push(issuers.get(), issuer) > 0, "a responder");
  X509* signer = nullptr;
  if (OCSP_resp_get0_signer(basic, &signer, issuers.get()) != 1 || signer == nullptr)
    return bad("is by somebody whom its issuer has not certified for that");
  if (!is_strong(basic))
    return Distrusted{Distrust::too_weak, "its OCSP response is signed with a hash that is too weak"};
  if (OCSP_basic_verify(basic, issuers.get(), nullptr, OCSP_NOVERIFY) != 1)
    return bad("is not signed by whom it names");
  return check_responder(signer, issuer, check);
}

struct Said {
  int status{V_OCSP_CERTSTATUS_UNKNOWN};
  int reason{-1};
  std::int64_t revoked_at{0};
  std::int64_t this_update{0};
  std::optional<std::int64_t> next_update;
};
Said said_by(const OCSP_SINGLERESP* single) {
  Said out;
  ASN1_GENERALIZEDTIME *revoked = nullptr, *first = nullptr, *next = nullptr;
  out.status =
      OCSP_single_get0_status(const_cast<OCSP_SINGLERESP*>(single), &out.reason, &revoked, &first, &next);
  if (revoked != nullptr) out.revoked_at = unix_time(revoked);
  out.this_update = unix_time(first);
  if (next != nullptr) out.next_update = unix_time(next);
  return out;
}

std::optional<Distrusted> check_times(const Said& said, std::int64_t when) {
  const auto stale = [](const std::string& words) {
    return Distrusted{Distrust::stale_status, "its OCSP response " + words};
  };
  if (said.this_update > when + kSkew) return stale("is not valid before " + utc_words(said.this_update));
  if (said.next_update && *said.next_update < when - kSkew)
    return stale("is past its next update of " + utc_words(*said.next_update));
  if (!said.next_update && said.this_update < when - kWithoutEnd)
    return stale("is of " + utc_words(said.this_update) + ", and does not say how long it is valid");
  return std::nullopt;
}

std::optional<Distrusted> check_status(const Said& said, const Certificate& leaf) {
  if (said.status == V_OCSP_CERTSTATUS_GOOD) return std::nullopt;
  if (said.status != V_OCSP_CERTSTATUS_REVOKED)
    return bad("says that its issuer does not know its certificate " + leaf.words());
  std::string words = "its certificate " + leaf.words() + " is revoked since " + utc_words(said.revoked_at);
  if (said.reason >= 0) words.append(" (").append(OCSP_crl_reason_str(said.reason)).append(")");
  return Distrusted{Distrust::revoked, words + ", as its issuer says by OCSP"};
}

}  // namespace

OcspVerdict ocsp_verdict(Bytes response, const Certificate& leaf, const Certificate& issuer,
                         std::int64_t when, const ResponderCheck& check) {
  const Decoded decoded = decode(response);
  ERR_clear_error();
  if (!decoded.basic) return {true, bad(decoded.objection)};
  const OCSP_SINGLERESP* single = find_status(decoded.basic.get(), leaf.handle(), issuer.handle());
  if (single == nullptr) return {false, bad("is of another certificate")};
  const Said said = said_by(single);
  OcspVerdict out{true, check_signature(decoded.basic.get(), issuer.handle(), check)};
  // Revoked is revoked, whenever that was said.
  if (!out.refused && said.status == V_OCSP_CERTSTATUS_REVOKED) out.refused = check_status(said, leaf);
  if (!out.refused) out.refused = check_times(said, when);
  if (!out.refused) out.refused = check_status(said, leaf);
  ERR_clear_error();
  return out;
}

OcspContent read_ocsp(Bytes response, const Certificate& leaf) {
  const Decoded decoded = decode(response);
  ERR_clear_error();
  if (!decoded.basic) throw std::runtime_error("an OCSP response that " + decoded.objection);
  for (int i = 0; i < OCSP_resp_count(decoded.basic.get()); ++i) {
    const OCSP_SINGLERESP* single = OCSP_resp_get0(decoded.basic.get(), i);
    ASN1_INTEGER* serial = nullptr;
    OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial,
                      const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(single)));
    if (ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf.handle())) != 0) continue;
    const Said said = said_by(single);
    return {said.this_update, said.next_update};
  }
  throw std::runtime_error("an OCSP response of another certificate than " + leaf.words());
}

}  // namespace espgate::crypto
