// What a certificate's issuer says of it now (OCSP, RFC 6960), on OpenSSL.
#pragma once

#include <functional>
#include <optional>

#include "crypto/certificate.hpp"

namespace espgate::crypto {

// Why a responder's own certificate is not trusted; nullopt: it is.
using ResponderCheck = std::function<std::optional<Distrusted>(const Certificate& responder)>;

// What one response in DER says of `leaf` at `when` (Unix time): only good if it is signed by `issuer`, who
// issued `leaf`, or by somebody whom that certified for it (section 4.2.2.2), and is not past its next
// update.
struct OcspVerdict {
  bool about_it{false};  // it is of this certificate; else it may be of one of its authorities'
  std::optional<Distrusted> refused;
};
[[nodiscard]] OcspVerdict ocsp_verdict(Bytes response, const Certificate& leaf, const Certificate& issuer,
                                       std::int64_t when, const ResponderCheck& check);

// From when until when a response of ours counts, and of which certificates it is; nothing of it is verified.
// Throws std::runtime_error with words: it is none, or one without a status.
struct OcspContent {
  std::int64_t this_update{0};
  std::optional<std::int64_t> next_update;
};
[[nodiscard]] OcspContent read_ocsp(Bytes response, const Certificate& leaf);

}  // namespace espgate::crypto
