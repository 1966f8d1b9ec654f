// The keys and certificates of pki_vectors.hpp as objects, for tests of what uses them.
#pragma once

#include <vector>

#include "crypto/certificate.hpp"
#include "tests/crypto/pki_vectors.hpp"

namespace espgate::crypto::test {

inline constexpr std::int64_t kMidYear = 1780272000;  // 2026-06-01: the certificates are valid

inline std::vector<std::uint8_t> bytes_of_hex(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  std::vector<std::uint8_t> bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(digit(text[2 * i]) * 16 + digit(text[2 * i + 1]));
  return bytes;
}

inline CertificatePtr certificate_of(std::string_view hex) {
  return Certificate::from_der(bytes_of_hex(hex));
}

inline std::vector<CertificatePtr> chain_of(std::initializer_list<std::string_view> hex) {
  std::vector<CertificatePtr> out;
  for (const std::string_view each : hex) out.push_back(certificate_of(each));
  return out;
}

inline std::shared_ptr<const TrustStore> trust_of(std::initializer_list<std::string_view> anchors,
                                                  std::initializer_list<std::string_view> lists = {}) {
  std::vector<std::vector<std::uint8_t>> ders;
  for (const std::string_view list : lists) ders.push_back(bytes_of_hex(list));
  const std::vector<Bytes> crls(ders.begin(), ders.end());
  return TrustStore::make(chain_of(anchors), crls);
}

}  // namespace espgate::crypto::test
