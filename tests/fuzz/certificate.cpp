// What a peer sends to show who it is: a certificate, an OCSP response, an identity, an AUTH payload. The
// first byte says which.
#include "crypto/certificate.hpp"

#include "control/ike/auth_methods.hpp"
#include "control/ike/identity.hpp"
#include "crypto/ocsp.hpp"
#include "ike_consume.hpp"
#include "tests/crypto/pki_bytes.hpp"

namespace {

using namespace espgate;
using ike::fuzz::demand;

void printable(const std::string& words) {
  for (const char c : words)
    demand(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "words with a control character");
}

void use_certificate(crypto::Bytes der) {
  static const auto trust = crypto::test::trust_of({crypto::test::kDer_root}, {crypto::test::kDer_crl_root});
  static const auto middle = crypto::test::chain_of({crypto::test::kDer_middle});
  const auto certificate = crypto::Certificate::from_der(der);
  if (!certificate) return;
  printable(certificate->words());
  printable(certificate->all_names());
  const bool names_nothing =
      certificate->names(crypto::NameKind::dns, {}) || certificate->names(crypto::NameKind::address, {});
  demand(!names_nothing, "a certificate for nobody");
  static_cast<void>(certificate->names(crypto::NameKind::email, crypto::Bytes(der).first(1)));
  demand(certificate->subject().empty() ||
             certificate->names(crypto::NameKind::directory, certificate->subject()),
         "a certificate that does not name its subject");
  const crypto::Enclosed enclosed{middle, {}, false};
  if (const auto refused = trust->refuse(*certificate, enclosed, crypto::test::kMidYear))
    printable(refused->words);
  try {
    static_cast<void>(certificate->public_key()->words());
  } catch (const std::runtime_error& error) {
    printable(error.what());
  }
}

// A response of somebody who has none of the keys that count: it is good only if it is one of ours, made of
// other encodings perhaps.
void use_response(crypto::Bytes der) {
  static const auto trust = crypto::test::trust_of({crypto::test::kDer_root});
  static const auto middle = crypto::test::chain_of({crypto::test::kDer_middle});
  static const auto west = crypto::test::certificate_of(crypto::test::kDer_west_p256);
  for (const std::int64_t when : {crypto::test::kMidYear, std::int64_t{0}}) {
    const auto refused = trust->refuse(*west, {middle, std::span(&der, 1), true}, when);
    if (refused) printable(refused->words);
    demand(refused || when != 0, "a response from before its time");
  }
  try {
    static_cast<void>(crypto::read_ocsp(der, *west));
  } catch (const std::runtime_error& error) {
    printable(error.what());
  }
}

void use_identity(crypto::Bytes data) {
  if (data.empty()) return;
  const ike::IdPayload id{true, data[0], {data.begin() + 1, data.end()}, {}};
  printable(ike::words(id));
  const conf::Identity same{static_cast<conf::IdentityType>(id.type), "", id.data};
  const bool name = same.type == conf::IdentityType::directory_name;
  demand(name || ike::is_identity(id, same), "an identity that is not itself");
}

void use_signature(crypto::Bytes data) {
  static const auto rsa = crypto::PublicKey::read(crypto::test::bytes_of_hex(crypto::test::kPublic_rsa));
  static const auto ecdsa = crypto::PublicKey::read(crypto::test::bytes_of_hex(crypto::test::kPublic_p384));
  if (data.empty()) return;
  const ike::AuthPayload auth{data[0], {data.begin() + 1, data.end()}};
  for (const auto& key : {rsa, ecdsa}) {
    const ike::Verified verified = ike::verify_signature(auth, *key, data, {});
    demand(!verified.good, "a signature without the private key");
    printable(verified.words);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const crypto::Bytes rest(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      use_certificate(rest);
      break;
    case 1:
      use_identity(rest);
      break;
    case 2:
      use_signature(rest);
      break;
    default:
      use_response(rest);
  }
  return 0;
}
