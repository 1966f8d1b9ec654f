// HMAC over pieces, for the PRFs and for IKE's integrity. Only crypto/'s own IKE sources include it.
#pragma once

#include <initializer_list>

#include "crypto/secret.hpp"

namespace espgate::crypto {

// `digest`: OpenSSL's name, "SHA2-256". Fills `out`, which has the digest's length. Throws
// std::runtime_error.
void hmac(const char* digest, Bytes key, std::initializer_list<Bytes> data, MutableBytes out);

}  // namespace espgate::crypto
