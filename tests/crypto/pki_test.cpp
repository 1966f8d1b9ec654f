// Signatures and certificates against Python's cryptography library and the RFCs' own bytes.
#include <algorithm>
#include <catch2/catch.hpp>

#include "crypto/certificate.hpp"
#include "crypto/ocsp.hpp"
#include "tests/crypto/esp_packets.hpp"
#include "tests/crypto/pki_vectors.hpp"
#include "tests/crypto/usage_vectors.hpp"

using namespace espgate::crypto;
using namespace espgate::crypto::test;

namespace {

using ByteVector = std::vector<std::uint8_t>;

constexpr std::int64_t kMidYear = 1780272000;   // 2026-06-01
constexpr std::int64_t kNextYear = 1800000000;  // 2027-01-15

ByteVector bytes(std::string_view text) { return {text.begin(), text.end()}; }
CertificatePtr certificate(std::string_view hex) { return Certificate::from_der(from_hex(hex)); }

std::string words_of(auto&& action) {
  try {
    action();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

std::string base64(const ByteVector& der) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < der.size(); i += 3) {
    const std::uint32_t group =
        der[i] << 16 | (i + 1 < der.size() ? der[i + 1] << 8 : 0) | (i + 2 < der.size() ? der[i + 2] : 0);
    for (int shift = 18; shift >= 0; shift -= 6) out += kDigits[group >> shift & 63];
    if (i + 1 >= der.size()) out[out.size() - 2] = '=';
    if (i + 2 >= der.size()) out[out.size() - 1] = '=';
    if (i / 3 % 16 == 15) out += '\n';
  }
  return out;
}

std::string pem(std::string_view label, std::string_view hex) {
  const std::string name(label);
  return "-----BEGIN " + name + "-----\n" + base64(from_hex(hex)) + "\n-----END " + name + "-----\n";
}

// The scheme's AlgorithmIdentifier as RFC 7427 appendix A and RFC 8420 appendix A print it.
constexpr std::pair<SignatureScheme, std::string_view> kIdentifiers[] = {
    {SignatureScheme::rsa_sha256, "300d06092a864886f70d01010b0500"},
    {SignatureScheme::rsa_sha384, "300d06092a864886f70d01010c0500"},
    {SignatureScheme::rsa_sha512, "300d06092a864886f70d01010d0500"},
    {SignatureScheme::ecdsa_sha256, "300a06082a8648ce3d040302"},
    {SignatureScheme::ecdsa_sha384, "300a06082a8648ce3d040303"},
    {SignatureScheme::ecdsa_sha512, "300a06082a8648ce3d040304"},
    {SignatureScheme::pss_sha256,
     "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096"
     "086"
     "480165030402010500a203020120"},
    {SignatureScheme::ed25519, "300506032b6570"},
};

}  // namespace

TEST_CASE("the algorithm identifiers are those of RFC 7427 and RFC 8420") {
  for (const auto& [scheme, hex] : kIdentifiers) {
    CAPTURE(hex);
    const Bytes identifier = algorithm_identifier(scheme);
    CHECK(ByteVector(identifier.begin(), identifier.end()) == from_hex(hex));
  }
  CHECK(algorithm_identifier(SignatureScheme::rsa_sha1).empty());
  for (int i = 1; i <= static_cast<int>(SignatureScheme::ed25519); ++i) {
    const auto scheme = static_cast<SignatureScheme>(i);
    CHECK(scheme_of(algorithm_identifier(scheme)) == scheme);
  }
}

TEST_CASE("other encodings of an algorithm identifier, and other algorithms") {
  // Without NULL where RFC 4055 lets it be missing, and with it where RFC 5758 has none.
  CHECK(scheme_of(from_hex("300b06092a864886f70d01010b")) == SignatureScheme::rsa_sha256);
  CHECK(scheme_of(from_hex("300c06082a8648ce3d0403020500")) == SignatureScheme::ecdsa_sha256);
  CHECK(scheme_of(
            from_hex("303d06092a864886f70d01010a3030a00d300b0609608648016503040201a11a301806092a864886f70d"
                     "010108300b0609608648016503040201a203020120")) == SignatureScheme::pss_sha256);
  // SHA-1 of either kind; PSS with its defaults, which are SHA-1's; a salt of another length; MD5.
  const std::pair<std::string_view, std::string_view> refused[] = {
      {"300d06092a864886f70d0101050500", "sha1WithRSAEncryption"},
      {"300906072a8648ce3d0401", "ecdsa-with-SHA1"},
      {"300d06092a864886f70d01010a3000", "rsassaPss with parameters of its own"},
      {"304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d060"
       "9608"
       "6480165030402010500a203020114",
       "rsassaPss with parameters of its own"},
      {"300d06092a864886f70d0101040500", "md5WithRSAEncryption"},
      {"300d06092a864886f70d01010b0500ff", "an algorithm that is not told properly"},
      {"300d06092a864886f70d01010b05", "an algorithm that is not told properly"},
      {"", "an algorithm that is not told properly"},
  };
  for (const auto& [hex, words] : refused) {
    CAPTURE(hex);
    CHECK(!scheme_of(from_hex(hex)));
    CHECK(algorithm_words(from_hex(hex)) == words);
  }
}

TEST_CASE("signatures by Python's cryptography library are good, and no others") {
  const ByteVector message = from_hex(kSignedMessage);
  for (const SignatureVector& vector : kSignatureVectors) {
    CAPTURE(name_of(vector.scheme));
    const auto key = PublicKey::read(from_hex(vector.public_key));
    ByteVector signature = from_hex(vector.signature);
    CHECK(key->verify(vector.scheme, message, signature));
    for (int i = 0; i <= static_cast<int>(SignatureScheme::ed25519); ++i)
      if (const auto other = static_cast<SignatureScheme>(i); other != vector.scheme)
        CHECK(!key->verify(other, message, signature));
    signature.back() ^= 1;
    CHECK(!key->verify(vector.scheme, message, signature));
    signature.back() ^= 1;
    signature.push_back(0);
    CHECK(!key->verify(vector.scheme, message, signature));
    CHECK(!key->verify(vector.scheme, message, {}));
    CHECK(!key->verify(vector.scheme, bytes("something else"), from_hex(vector.signature)));
  }
}

TEST_CASE("what we sign is verified, and what is no scheme for a key is refused") {
  const ByteVector message = from_hex(kSignedMessage);
  for (const SignatureVector& vector : kSignatureVectors) {
    const auto key = PrivateKey::read(from_hex(vector.private_key));
    CHECK(std::ranges::equal(key->public_key().der(), from_hex(vector.public_key)));
    CHECK(PublicKey::read(from_hex(vector.public_key))
              ->verify(vector.scheme, message, key->sign(vector.scheme, message)));
  }
  const auto key = PrivateKey::read(from_hex(kPrivate_p256));
  CHECK_THROWS_AS(key->sign(SignatureScheme::rsa_sha256, message), std::runtime_error);
  CHECK_THROWS_AS(key->sign(SignatureScheme::ed25519, message), std::runtime_error);
}

TEST_CASE("ECDSA's signature as a pair and as DER") {
  const std::pair<KeyKind, std::string_view> keys[] = {
      {KeyKind::p256, kPrivate_p256}, {KeyKind::p384, kPrivate_p384}, {KeyKind::p521, kPrivate_p521}};
  const std::size_t lengths[] = {64, 96, 132};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto key = PrivateKey::read(from_hex(keys[i].second));
    for (int round = 0; round < 50; ++round) {  // some have leading zeros
      const ByteVector der = key->sign(SignatureScheme::ecdsa_sha256, bytes("x"));
      const auto pair = ecdsa_to_pair(keys[i].first, der);
      REQUIRE(pair);
      CHECK(pair->size() == lengths[i]);
      CHECK(ecdsa_from_pair(keys[i].first, *pair) == der);
    }
  }
  CHECK(!ecdsa_from_pair(KeyKind::p256, ByteVector(63)));
  CHECK(!ecdsa_from_pair(KeyKind::rsa, ByteVector(64)));
  CHECK(!ecdsa_to_pair(KeyKind::p256, ByteVector(70, 0x30)));
  // A number of P-521's does not fit P-256.
  const auto large = PrivateKey::read(from_hex(kPrivate_p521));
  CHECK(!ecdsa_to_pair(KeyKind::p256, large->sign(SignatureScheme::ecdsa_sha512, bytes("x"))));
}

TEST_CASE("keys in PEM and DER, and what is none") {
  CHECK(PrivateKey::read(bytes(pem("PRIVATE KEY", kPrivate_p384)))->public_key().kind() == KeyKind::p384);
  CHECK(PublicKey::read(bytes(pem("PUBLIC KEY", kPublic_rsa)))->words() == "RSA 2048");
  CHECK(PublicKey::read(from_hex(kPublic_ed25519))->words() == "Ed25519");
  CHECK(words_of([] { (void)PrivateKey::read(bytes("nothing")); }) == "no private key in PEM or DER");
  CHECK(words_of([] { (void)PublicKey::read({}); }) == "no public key in PEM or DER");
  CHECK(words_of([] { (void)PublicKey::read(bytes(pem("PRIVATE KEY", kPrivate_p384))); }) ==
        "a private key, where a public one belongs");
  CHECK(words_of([] { (void)PrivateKey::read(from_hex(kPublic_p256)); }) == "no private key in PEM or DER");
  CHECK(words_of([] { (void)PrivateKey::read(bytes(pem("ENCRYPTED PRIVATE KEY", kPrivate_p384))); }) ==
        "a private key behind a password; expected one without");
  CHECK(words_of([] { (void)PrivateKey::read(from_hex(kPrivate_rsa1024)); }) ==
        "an RSA key of 1024 bits; accepted are 2048 to 8192");
  CHECK(words_of([] { (void)PublicKey::read(from_hex(kPublic_k256)); }).starts_with("a key of a kind"));
}

TEST_CASE("certificates: what they name") {
  const auto west = certificate(kDer_west_p256);
  REQUIRE(west);
  CHECK(west->words() == "\"C=DE, O=Example, CN=west\"");
  CHECK(west->names(NameKind::dns, bytes("west.example")));
  CHECK(west->names(NameKind::dns, bytes("WEST.Example")));
  CHECK(!west->names(NameKind::dns, bytes("est.example")));
  CHECK(!west->names(NameKind::dns, bytes("west")));  // the subject's CN is no domain name
  CHECK(!west->names(NameKind::dns, {}));
  CHECK(west->names(NameKind::email, bytes("ops@west.example")));
  CHECK(!west->names(NameKind::email, bytes("OPS@west.example")));
  CHECK(!west->names(NameKind::email, bytes("west.example")));
  CHECK(west->names(NameKind::address, ByteVector{192, 0, 2, 2}));
  CHECK(!west->names(NameKind::address, ByteVector{192, 0, 2, 3}));
  CHECK(west->names(NameKind::directory, west->subject()));
  CHECK(!west->names(NameKind::directory, certificate(kDer_east)->subject()));
  CHECK(west->all_names() ==
        "C=DE, O=Example, CN=west; dns west.example; email ops@West.example; address 192.0.2.2; address "
        "2001:db8:0:0:0:0:0:2");
  CHECK(west->not_before() == 1767225600);
  CHECK(west->not_after() == 1798761600);
  CHECK(!west->is_self_issued());
  CHECK(certificate(kDer_root)->is_self_issued());
  CHECK(std::ranges::equal(west->public_key()->der(), from_hex(kPublic_p256)));
  CHECK(words_of([] { (void)certificate(kDer_small_key)->public_key(); }).starts_with("an RSA key of 1024"));
}

TEST_CASE("names of directories are compared as RFC 5280 has it") {
  // CN=West  One in PrintableString, and CN=west one in UTF8String.
  const ByteVector printable = from_hex("301431123010060355040313095765737420204f6e65");
  const ByteVector utf8 = from_hex(
      "3013311130"
      "0f06035504030c0877657374206f6e65");
  CHECK(same_directory_name(printable, utf8));
  CHECK(!same_directory_name(printable, {}));
  CHECK(!same_directory_name(ByteVector{}, ByteVector{}));
  CHECK(!same_directory_name(printable, from_hex("300f310d300b06035504030c0477657374")));
  CHECK(directory_words(printable) == "CN=West  One");
  // What a peer could put into a log: control characters, quotes, bytes beyond ASCII.
  CHECK(directory_words(from_hex("3010310e300c06035504030c0561220a1bff")).find('\n') == std::string::npos);
  CHECK(directory_words(bytes("nonsense")).empty());
}

TEST_CASE("certificates in files") {
  const std::string two =
      "a comment\n" + pem("CERTIFICATE", kDer_west_p256) + pem("CERTIFICATE", kDer_middle);
  const auto chain = read_certificates(bytes(two));
  REQUIRE(chain.size() == 2);
  CHECK(chain[1]->words() == "\"O=Example, CN=middle\"");
  CHECK(read_certificates(from_hex(kDer_root)).size() == 1);
  CHECK(words_of([] { (void)read_certificates(bytes("nothing")); }) == "a certificate that can't be read");
  CHECK(words_of([] { (void)read_certificates({}); }) == "no certificate");
  CHECK(words_of([] { (void)read_certificates(bytes(pem("PRIVATE KEY", kPrivate_p256))); }) ==
        "no certificate");
  CHECK(words_of([] { (void)read_certificates(bytes("-----BEGIN CERTIFICATE-----\n!\n")); }) ==
        "PEM that is not well-formed");
  ByteVector longer = from_hex(kDer_root);
  longer.push_back(0);
  CHECK(!Certificate::from_der(longer));
}

TEST_CASE("PKCS#12") {
  const Pkcs12 box = read_pkcs12(from_hex(kDer_pkcs12), bytes("a password"));
  CHECK(std::ranges::equal(box.key->public_key().der(), from_hex(kPublic_p256)));
  REQUIRE(box.chain.size() == 2);
  CHECK(box.chain[0]->words() == "\"C=DE, O=Example, CN=west\"");
  CHECK(box.chain[1]->words() == "\"O=Example, CN=middle\"");
  CHECK(words_of([] { (void)read_pkcs12(from_hex(kDer_pkcs12), bytes("another")); }) ==
        "a PKCS#12 file with another password");
  CHECK(words_of([] { (void)read_pkcs12(from_hex(kDer_pkcs12), {}); }) ==
        "a PKCS#12 file with another password");
  CHECK(words_of([] { (void)read_pkcs12(from_hex(kDer_root), {}); }) == "not a PKCS#12 file");
}

namespace {

std::shared_ptr<const TrustStore> store(std::initializer_list<std::string_view> anchors,
                                        std::initializer_list<std::string_view> lists = {}) {
  std::vector<CertificatePtr> certificates;
  for (const std::string_view anchor : anchors) certificates.push_back(certificate(anchor));
  std::vector<ByteVector> ders;
  for (const std::string_view list : lists) ders.push_back(from_hex(list));
  const std::vector<Bytes> crls(ders.begin(), ders.end());
  return TrustStore::make(certificates, crls);
}

std::string verdict(const TrustStore& store, std::string_view leaf,
                    std::initializer_list<std::string_view> others = {}, std::int64_t when = kMidYear) {
  std::vector<CertificatePtr> sent;
  for (const std::string_view other : others) sent.push_back(certificate(other));
  const auto refused = store.refuse(*certificate(leaf), {sent, {}, false}, when);
  return refused ? refused->words : "trusted";
}

}  // namespace

TEST_CASE("chains") {
  const auto root = store({kDer_root});
  CHECK(verdict(*root, kDer_east) == "trusted");
  CHECK(verdict(*root, kDer_west_p256, {kDer_middle}) == "trusted");
  CHECK(verdict(*root, kDer_west_rsa, {kDer_other, kDer_middle, kDer_root}) == "trusted");
  CHECK(verdict(*root, kDer_west_ed25519, {kDer_middle}) == "trusted");
  CHECK(
      verdict(*root, kDer_west_p256) ==
      "its certificate \"C=DE, O=Example, CN=west\" is issued by \"O=Example, CN=middle\", which is none of "
      "our authorities, nor did the peer send its certificate by one of them");
  CHECK(verdict(*root, kDer_by_other, {kDer_other}).find("none of our authorities") != std::string::npos);
  CHECK(verdict(*root, kDer_self_signed).find("none of our authorities") != std::string::npos);
  CHECK(verdict(*store({kDer_middle}), kDer_west_p256) == "trusted");  // an anchor that is no root
  CHECK(verdict(*store({kDer_other, kDer_root}), kDer_by_other) == "trusted");
  CHECK(verdict(*store({kDer_self_signed}), kDer_self_signed) == "trusted");
}

TEST_CASE("certificates that are not trusted, in words") {
  const auto root = store({kDer_root});
  CHECK(verdict(*root, kDer_expired) ==
        "its certificate \"C=DE, O=Example, CN=west\" has expired on 2026-02-01 00:00:00 UTC");
  CHECK(verdict(*root, kDer_expired, {}, 1768000000) == "trusted");
  CHECK(verdict(*root, kDer_future) ==
        "its certificate \"C=DE, O=Example, CN=west\" is not valid before 2026-11-01 00:00:00 UTC");
  CHECK(verdict(*root, kDer_west_p256, {kDer_middle}, kNextYear).find("has expired") != std::string::npos);
  CHECK(verdict(*root, kDer_forged) ==
        "its certificate \"C=DE, O=Example, CN=west\" is not signed by \"C=DE, O=Example, CN=root\", whom it "
        "names "
        "as its issuer");
  CHECK(verdict(*root, kDer_weak_hash).find("hash that is too weak") != std::string::npos);
  CHECK(verdict(*root, kDer_small_key).find("has a key that is too small") != std::string::npos);
  CHECK(verdict(*root, kDer_no_signing) == "its certificate is not for signatures (key usage)");
  CHECK(verdict(*root, kDer_by_leaf, {kDer_east}).find("somebody who is no authority") != std::string::npos);
  CHECK(verdict(*root, kDer_out_of_bounds, {kDer_bound}).find("name constraints") != std::string::npos);
  CHECK(verdict(*root, kDer_in_bounds, {kDer_bound}) == "trusted");
  CHECK(verdict(*root, kDer_too_deep, {kDer_below_short, kDer_short}).find("more authorities") !=
        std::string::npos);
}

TEST_CASE("an extended key usage, if there is one, is for IKE or TLS") {
  for (const std::string_view good :
       {kUsage_server_auth, kUsage_client_auth, kUsage_end_system, kUsage_tunnel, kUsage_user,
        kUsage_ipsec_ike, kUsage_ike_intermediate, kUsage_any, kUsage_code_and_ike}) {
    CAPTURE(good);
    CHECK(certificate(good)->foreign_usage().empty());
    CHECK(verdict(*store({good}), good) == "trusted");
  }
  const std::pair<std::string_view, std::string_view> others[] = {
      {kUsage_code, "codeSigning"},
      {kUsage_ocsp_and_mail, "OCSPSigning, emailProtection"},
      {kUsage_unknown, "1.3.6.1.4.1.55555.1"}};
  for (const auto& [bad, words] : others)
    CHECK(verdict(*store({bad}), bad) ==
          "its certificate is for other things than IKE (extended key usage): " + std::string(words));
}

TEST_CASE("revocation lists") {
  CHECK(verdict(*store({kDer_root}, {kDer_crl_root}), kDer_east) == "trusted");
  CHECK(verdict(*store({kDer_root}), kDer_revoked) == "trusted");
  CHECK(verdict(*store({kDer_root}, {kDer_crl_root}), kDer_revoked) ==
        "its certificate \"C=DE, O=Example, CN=west\" is revoked by its issuer \"C=DE, O=Example, CN=root\"");
  // The list must be that of the leaf's issuer; one of those above counts where there is one.
  CHECK(verdict(*store({kDer_root}, {kDer_crl_root}), kDer_west_p256, {kDer_middle}) ==
        "its certificate \"C=DE, O=Example, CN=west\": none of our revocation lists is that of its issuer "
        "\"O=Example, CN=middle\"");
  CHECK(verdict(*store({kDer_root}, {kDer_crl_middle}), kDer_west_p256, {kDer_middle}) == "trusted");
  CHECK(verdict(*store({kDer_root}, {kDer_crl_middle, kDer_crl_of_middle}), kDer_west_p256, {kDer_middle})
            .find("the authority's certificate \"O=Example, CN=middle\" is revoked") != std::string::npos);
  CHECK(verdict(*store({kDer_root}, {kDer_crl_root_old}), kDer_east) ==
        "our revocation list of \"C=DE, O=Example, CN=root\" is past its next update");
  CHECK(words_of([] { (void)store({kDer_root}, {kDer_root}); }).find("can't be read") != std::string::npos);
}

TEST_CASE("why a certificate is not trusted, for advice") {
  const auto why = [](const TrustStore& store, std::string_view leaf,
                      std::initializer_list<std::string_view> others = {}) {
    std::vector<CertificatePtr> sent;
    for (const std::string_view other : others) sent.push_back(certificate(other));
    const auto refused = store.refuse(*certificate(leaf), {sent, {}, false}, kMidYear);
    return refused ? refused->why : Distrust::none;
  };
  const auto root = store({kDer_root});
  CHECK(why(*root, kDer_east) == Distrust::none);
  CHECK(why(*root, kDer_expired) == Distrust::expired);
  CHECK(why(*root, kDer_future) == Distrust::not_yet_valid);
  CHECK(why(*root, kDer_by_other) == Distrust::unknown_authority);
  CHECK(why(*root, kDer_forged) == Distrust::unknown_authority);
  CHECK(why(*root, kDer_weak_hash) == Distrust::too_weak);
  CHECK(why(*root, kDer_small_key) == Distrust::too_weak);
  CHECK(why(*root, kDer_no_signing) == Distrust::other);
  CHECK(why(*root, kDer_by_leaf, {kDer_east}) == Distrust::no_authority);
  CHECK(why(*root, kDer_too_deep, {kDer_below_short, kDer_short}) == Distrust::no_authority);
  CHECK(why(*root, kDer_out_of_bounds, {kDer_bound}) == Distrust::forbidden_name);
  CHECK(why(*store({kDer_root}, {kDer_crl_root}), kDer_revoked) == Distrust::revoked);
  CHECK(why(*store({kDer_root}, {kDer_crl_root}), kDer_west_p256, {kDer_middle}) == Distrust::no_list);
  CHECK(why(*store({kDer_root}, {kDer_crl_root_old}), kDer_east) == Distrust::stale_list);
}

namespace {

struct Status {
  Distrust why{Distrust::none};
  std::string words;
};

// West's certificate by the authority between, with these responses.
Status status(std::initializer_list<std::string_view> responses, bool needed = true,
              std::int64_t when = kMidYear, std::initializer_list<std::string_view> lists = {}) {
  const std::vector<CertificatePtr> sent{certificate(kDer_middle)};
  std::vector<ByteVector> ders;
  for (const std::string_view response : responses) ders.push_back(from_hex(response));
  const std::vector<Bytes> views(ders.begin(), ders.end());
  const auto refused =
      store({kDer_root}, lists)->refuse(*certificate(kDer_west_p256), {sent, views, needed}, when);
  return refused ? Status{refused->why, refused->words} : Status{};
}

}  // namespace

TEST_CASE("OCSP responses that are good") {
  for (const std::string_view good : {kDer_ocsp_good, kDer_ocsp_good_sha256_id, kDer_ocsp_good_delegated})
    for (const bool needed : {false, true}) CHECK(status({good}, needed).words == "");
  // Those of authorities may be there as well, and count for nothing.
  CHECK(status({kDer_ocsp_of_middle, kDer_ocsp_good}).words == "");
  CHECK(status({}, false).words == "");
  CHECK(status({kDer_ocsp_of_middle}, false).words == "");
  // A responder that the issuer certified is looked up in the issuer's list as well.
  CHECK(status({kDer_ocsp_good_delegated}, true, kMidYear, {kDer_crl_middle}).words == "");
}

TEST_CASE("OCSP responses that are not, in words") {
  struct Row {
    std::string_view response;
    Distrust why;
    std::string words;
  };
  const std::string uncertified = ", whom its issuer has not certified for that";
  const Row rows[] = {
      {kDer_ocsp_revoked, Distrust::revoked,
       "its certificate \"C=DE, O=Example, CN=west\" is revoked since 2026-02-01 00:00:00 UTC "
       "(keyCompromise), as "
       "its issuer says by OCSP"},
      {kDer_ocsp_unknown, Distrust::bad_status,
       "its OCSP response says that its issuer does not know its certificate \"C=DE, O=Example, CN=west\""},
      {kDer_ocsp_old, Distrust::stale_status,
       "its OCSP response is past its next update of 2026-02-01 00:00:00 UTC"},
      {kDer_ocsp_early, Distrust::stale_status,
       "its OCSP response is not valid before 2026-11-01 00:00:00 UTC"},
      {kDer_ocsp_endless, Distrust::stale_status,
       "its OCSP response is of 2026-01-01 00:00:00 UTC, and does not say how long it is valid"},
      {kDer_ocsp_weak, Distrust::too_weak, "its OCSP response is signed with a hash that is too weak"},
      {kDer_ocsp_by_root, Distrust::bad_status,
       "its OCSP response is by \"C=DE, O=Example, CN=root\"" + uncertified},
      {kDer_ocsp_by_other, Distrust::bad_status,
       "its OCSP response is by \"O=Example, CN=other\"" + uncertified},
      {kDer_ocsp_by_itself, Distrust::bad_status,
       "its OCSP response is by \"C=DE, O=Example, CN=west\"" + uncertified},
      {kDer_ocsp_undelegated, Distrust::bad_status,
       "its OCSP response is by \"O=Example, CN=responder\"" + uncertified},
      {kDer_ocsp_delegated_by_root, Distrust::bad_status,
       "its OCSP response is by \"O=Example, CN=responder\"" + uncertified},
      {kDer_ocsp_delegate_expired, Distrust::bad_status,
       "its OCSP response is by \"O=Example, CN=responder\", and its certificate \"O=Example, CN=responder\" "
       "has "
       "expired on 2026-02-01 00:00:00 UTC"},
      {kDer_ocsp_forged, Distrust::bad_status, "its OCSP response is not signed by whom it names"},
      {kDer_ocsp_try_later, Distrust::bad_status, "its OCSP response says nothing but trylater"},
      {kDer_root, Distrust::bad_status, "its OCSP response can't be read"},
  };
  for (const Row& row : rows)
    for (const bool needed : {false, true}) {
      const Status found = status({row.response}, needed);
      CHECK(found.words == row.words);
      CHECK(found.why == row.why);
    }
  for (const std::string_view other : {kDer_ocsp_of_other, kDer_ocsp_of_middle}) {
    const Status found = status({other});
    CHECK(found.words ==
          "it sent no OCSP response for its certificate \"C=DE, O=Example, CN=west\", and we require one");
    CHECK(found.why == Distrust::no_status);
  }
  CHECK(status({}).why == Distrust::no_status);
  CHECK(status({kDer_ocsp_good, kDer_ocsp_revoked}).why == Distrust::revoked);
  // On time or not is a matter of five minutes.
  CHECK(status({kDer_ocsp_old}, true, 1769904000 + 299).words == "");
  CHECK(status({kDer_ocsp_old}, true, 1769904000 + 301).why == Distrust::stale_status);
  CHECK(status({kDer_ocsp_endless}, true, 1767225600 + 86'400).words == "");
  CHECK(status({kDer_ocsp_endless}, true, 1767225600 + 86'401).why == Distrust::stale_status);
}

TEST_CASE("an OCSP response that is not whole, bit for bit") {
  const ByteVector good = from_hex(kDer_ocsp_good_delegated);
  const std::vector<CertificatePtr> sent{certificate(kDer_middle)};
  const auto trust = store({kDer_root});
  const auto leaf = certificate(kDer_west_p256);
  const auto accepted = [&](const ByteVector& response) {
    const Bytes view(response);
    return !trust->refuse(*leaf, {sent, std::span(&view, 1), true}, kMidYear);
  };
  CHECK(accepted(good));
  for (std::size_t at = 0; at < good.size(); at += 3) {
    ByteVector changed = good;
    changed[at] ^= 0x10;
    // What is signed is DER of which every bit counts; what encloses it has some that do not.
    if (accepted(changed)) CHECK(at < 40);
  }
  for (std::size_t length = 0; length < good.size(); length += 7)
    CHECK(!accepted({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length)}));
}

TEST_CASE("what our own OCSP response is") {
  const auto west = certificate(kDer_west_p256);
  const OcspContent content = read_ocsp(from_hex(kDer_ocsp_good), *west);
  CHECK(content.this_update == 1767225600);
  CHECK(content.next_update == 1798761600);
  CHECK(!read_ocsp(from_hex(kDer_ocsp_endless), *west).next_update);
  CHECK(words_of([&] { (void)read_ocsp(from_hex(kDer_ocsp_of_other), *west); }) ==
        "an OCSP response of another certificate than \"C=DE, O=Example, CN=west\"");
  CHECK(words_of([&] { (void)read_ocsp(from_hex(kDer_root), *west); }) ==
        "an OCSP response that can't be read");
  CHECK(words_of([&] { (void)read_ocsp(from_hex(kDer_ocsp_try_later), *west); }) ==
        "an OCSP response that says nothing but trylater");
}

TEST_CASE("authorities are named by the hashes of their keys") {
  const auto one = store({kDer_root});
  const auto two = store({kDer_root, kDer_other});
  CHECK(one->authority_hashes().size() == 20);
  REQUIRE(two->authority_hashes().size() == 40);
  CHECK(std::ranges::equal(two->authority_hashes().first(20), one->authority_hashes()));
}
