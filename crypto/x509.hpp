// What crypto/'s own sources share of OpenSSL's X.509; only they include it.
#pragma once

#include <openssl/x509.h>

#include <cstdint>

#include "crypto/openssl.hpp"

namespace espgate::crypto::openssl {

// The certificates in it are others'.
inline void free_stack(STACK_OF(X509) * stack) { sk_X509_free(stack); }
using Stack = std::unique_ptr<STACK_OF(X509), Deleter<free_stack>>;

// Seconds of Unix time; 0: it is none.
inline std::int64_t unix_time(const ASN1_TIME* time) {
  tm parts{};
  return time != nullptr && ASN1_TIME_to_tm(time, &parts) == 1 ? ::timegm(&parts) : 0;
}

}  // namespace espgate::crypto::openssl
