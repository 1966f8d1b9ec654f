// The table of signature schemes, as OpenSSL knows them; only crypto/'s own sources include it.
#pragma once

#include "crypto/signature.hpp"

namespace espgate::crypto {

struct SchemeRow {
  SignatureScheme scheme;
  const char* name;
  SignatureHash hash;
  const char* digest;  // OpenSSL's name; nullptr: the scheme hashes by itself
  bool pss;
  int hash_nid;
  int nid;  // of the AlgorithmIdentifier
};
[[nodiscard]] const SchemeRow& row_of(SignatureScheme scheme) noexcept;
[[nodiscard]] long pss_salt_length(const SchemeRow& row) noexcept;  // bytes

}  // namespace espgate::crypto
