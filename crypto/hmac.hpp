// HMAC over pieces, for the PRFs and for IKE's integrity. Only crypto/'s own IKE sources include it.
#pragma once

#include <initializer_list>

#include "crypto/openssl.hpp"
#include "crypto/secret.hpp"

namespace espgate::crypto {

// By one key, of one message after the other: to begin takes longer than a short message does. Both throw
// std::runtime_error.
class Hmac {
 public:
  Hmac(const char* digest, Bytes key);  // `digest`: OpenSSL's name, "SHA2-256"
  // Fills `out`, which has the digest's length.
  void of(std::initializer_list<Bytes> data, MutableBytes out);

 private:
  openssl::MacContext context_;  // erases what it has of the key
  bool fresh_{true};
};

}  // namespace espgate::crypto
