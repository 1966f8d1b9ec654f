// The key schedule against NIST's vectors and Python's hmac (make_kdf_vectors.py).
#include <catch2/catch.hpp>

#include "control/ike/cursor.hpp"
#include "control/ike/keys.hpp"
#include "tests/control/ike/support.hpp"

using namespace espgate;
using namespace espgate::ike;
using namespace espgate::ike::test;

namespace {

struct Row {
  const char* digest;
  crypto::Prf prf;
  crypto::IkeIntegrity integrity;
  std::uint16_t key_bits;  // of the vectors' DKM: NIST's lengths are those of one whole suite each
};
const Row kNist[] = {{"nist_sha1", crypto::Prf::hmac_sha1, crypto::IkeIntegrity::hmac_sha1_96, 128},
                     {"nist_sha256", crypto::Prf::hmac_sha256, crypto::IkeIntegrity::hmac_sha256_128, 256}};
const Row kPython[] = {{"py_sha1", crypto::Prf::hmac_sha1, crypto::IkeIntegrity::hmac_sha1_96, 256},
                       {"py_sha256", crypto::Prf::hmac_sha256, crypto::IkeIntegrity::hmac_sha256_128, 256},
                       {"py_sha384", crypto::Prf::hmac_sha384, crypto::IkeIntegrity::hmac_sha384_192, 256},
                       {"py_sha512", crypto::Prf::hmac_sha512, crypto::IkeIntegrity::hmac_sha512_256, 256}};

NoncePair nonces() { return {kdf("ni"), kdf("nr")}; }
SpiPair spis() { return {Cursor(kdf("spi_i")).u64(), Cursor(kdf("spi_r")).u64()}; }

IkeAlgorithms cbc(const Row& row) {
  return {crypto::IkeCipherId::aes_cbc, row.key_bits, row.integrity, row.prf, crypto::DhGroup::none};
}

// In the order of section 2.14.
std::string joined(const IkeKeys& keys) {
  std::string text;
  for (const auto* key :
       {&keys.sk_d, &keys.sk_ai, &keys.sk_ar, &keys.sk_ei, &keys.sk_er, &keys.sk_pi, &keys.sk_pr})
    text += to_hex(key->view());
  return text;
}

void check_row(const Row& row, bool with_rekey) {
  const auto value = [&row](const std::string& name) { return kdf(row.digest + ("_" + name)); };
  CAPTURE(row.digest);
  const IkeKeys keys = derive_ike_keys(cbc(row), kdf("gir"), nonces(), spis());
  CHECK(joined(keys) == to_hex(value("dkm")));
  CHECK(keys.sk_d.size() == crypto::prf_length(row.prf));
  CHECK(keys.sk_ai.size() == crypto::integrity_key_length(row.integrity));
  CHECK(keys.sk_ei.size() == row.key_bits / 8U);
  if (!with_rekey) return;
  const IkeKeys rekeyed =
      derive_ike_keys(cbc(row), kdf("gir_new"), nonces(), spis(), RekeyedFrom{keys.sk_d.view(), row.prf});
  CHECK(joined(rekeyed) == to_hex(value("dkm_rekey")));
}

}  // namespace

TEST_CASE("SK_* are NIST's and Python's") {
  for (const Row& row : kNist) check_row(row, false);
  for (const Row& row : kPython) check_row(row, true);
}

TEST_CASE("a rekey's SKEYSEED is NIST's") {
  for (const Row& row : kNist) {
    const std::string name = row.digest;
    const IkeKeys old = derive_ike_keys(cbc(row), kdf("gir"), nonces(), spis());
    const IkeKeys keys =
        derive_ike_keys(cbc(row), kdf("gir_new"), nonces(), spis(), RekeyedFrom{old.sk_d.view(), row.prf});
    const auto expected =
        crypto::prf_plus(row.prf, kdf(name + "_skeyseed_rekey"),
                         {kdf("ni"), kdf("nr"), kdf("spi_i"), kdf("spi_r")}, keys.sk_d.size());
    CHECK(to_hex(keys.sk_d.view()) == to_hex(expected.view()));
  }
}

TEST_CASE("a rekey takes the old SA's PRF for SKEYSEED and the new one's for the keys") {
  const IkeKeys old = derive_ike_keys(cbc(kPython[3]), kdf("gir"), nonces(), spis());
  const IkeKeys keys = derive_ike_keys(cbc(kPython[1]), kdf("gir_new"), nonces(), spis(),
                                       RekeyedFrom{old.sk_d.view(), crypto::Prf::hmac_sha512});
  const auto expected = crypto::prf_plus(crypto::Prf::hmac_sha256, kdf("py_sha512_skeyseed_rekey"),
                                         {kdf("ni"), kdf("nr"), kdf("spi_i"), kdf("spi_r")}, 32);
  CHECK(to_hex(keys.sk_d.view()) == to_hex(expected.view()));
}

TEST_CASE("AES-GCM keys carry their salt and there is no SK_a") {
  for (const Row& row : kPython) {
    const IkeAlgorithms gcm{crypto::IkeCipherId::aes_gcm16, 256, crypto::IkeIntegrity::none, row.prf,
                            crypto::DhGroup::none};
    const IkeKeys keys = derive_ike_keys(gcm, kdf("gir"), nonces(), spis());
    CHECK(keys.sk_ai.empty());
    CHECK(keys.sk_ei.size() == 36);
    CHECK(joined(keys) == to_hex(kdf(row.digest + std::string("_gcm"))));
  }
}

TEST_CASE("KEYMAT of child SAs: initiator's direction first") {
  const auto check = [](const Row& row, const crypto::SuiteRow& suite, bool pfs) {
    const std::string name = row.digest;
    const IkeKeys ike = derive_ike_keys(cbc(row), kdf("gir"), nonces(), spis());
    const ChildKeys keys =
        derive_child_keys(row.prf, ike.sk_d.view(), pfs ? Bytes(kdf("gir_new")) : Bytes{}, nonces(), suite);
    const Bytes keymat = kdf(name + (pfs ? "_child_dh" : "_child"));
    const std::size_t length = crypto::key_material_length(suite);
    if (2 * length > keymat.size() && name.starts_with("nist")) return;  // NIST published no more
    REQUIRE(2 * length <= keymat.size());
    CAPTURE(name, std::string(suite.name), pfs);
    CHECK(to_hex(keys.to_responder.view()) == to_hex(keymat.first(length)));
    CHECK(to_hex(keys.to_initiator.view()) == to_hex(keymat.subspan(length, length)));
  };
  for (const crypto::SuiteRow& suite : crypto::kSuites)
    for (const bool pfs : {false, true}) {
      for (const Row& row : kNist) check(row, suite, pfs);
      for (const Row& row : kPython) check(row, suite, pfs);
    }
}

TEST_CASE("a PPK goes into SK_d, SK_pi and SK_pr, and nowhere else") {
  for (const Row& row : kPython) {
    IkeKeys keys = derive_ike_keys(cbc(row), kdf("gir"), nonces(), spis());
    const std::string encryption = to_hex(keys.sk_ei.view());
    mix_ppk(row.prf, kdf("ppk"), keys);
    CHECK(to_hex(keys.sk_d.view()) + to_hex(keys.sk_pi.view()) + to_hex(keys.sk_pr.view()) ==
          to_hex(kdf(row.digest + std::string("_with_ppk"))));
    CHECK(to_hex(keys.sk_ei.view()) == encryption);
  }
}

TEST_CASE("AUTH of a pre-shared key") {
  for (const Row& row : kPython) {
    const IkeKeys keys = derive_ike_keys(cbc(row), kdf("gir"), nonces(), spis());
    const auto auth =
        psk_auth(row.prf, kdf("psk"),
                 signed_octets(row.prf, kdf("message"), kdf("ni"), keys.sk_pr.view(), kdf("id_body")));
    CHECK(to_hex(auth.view()) == to_hex(kdf(row.digest + std::string("_auth"))));
  }
}
