// What ends some day is told of a day before, and when it does.
#include "control/tunnels/expiries.hpp"

#include <catch2/catch.hpp>

#include "tests/crypto/pki_bytes.hpp"

using namespace espgate;
using namespace espgate::crypto::test;
using control::Expiries;
using control::Expiry;

namespace {

conf::Tunnel tunnel() {
  conf::Tunnel out;
  out.name = "west";
  out.local_auth.chain =
      std::make_shared<const std::vector<crypto::CertificatePtr>>(chain_of({kDer_west_p256}));
  out.local_auth.ocsp_response =
      std::make_shared<const std::vector<std::uint8_t>>(bytes_of_hex(kDer_ocsp_old));
  out.remote_auth.trust = trust_of({kDer_root}, {kDer_crl_root, kDer_crl_root_old});
  out.ppks.emplace_back();
  out.ppks.back().id = "a1";
  out.ppks.back().not_after = 1767225600;
  out.ppks.emplace_back();  // has no end
  return out;
}

}  // namespace

TEST_CASE("certificates, revocation lists, OCSP responses and PPKs end, each told once", "[expiries]") {
  conf::Configuration configuration;
  configuration.tunnels.push_back(tunnel());
  configuration.tunnels.push_back(tunnel());  // shares what it names
  const std::vector<Expiry> all = control::expiries_of(configuration);
  std::vector<std::string> lines;
  for (const Expiry& each : all) lines.push_back(std::to_string(each.at) + " " + each.what);
  CHECK(lines == std::vector<std::string>{
                     "1767225600 the PPK \"a1\" of tunnel west",
                     "1769904000 the OCSP response of our certificate \"C=DE, O=Example, CN=west\"",
                     "1798761600 our certificate \"C=DE, O=Example, CN=west\"",
                     "1798761600 the revocation list of \"C=DE, O=Example, CN=root\""});
}

TEST_CASE("what ends is said a day before, and when it has", "[expiries]") {
  using Lines = std::vector<std::string>;
  Expiries expiries({{1'000'000, "this"}, {1'050'000, "that"}, {2'000'000, "the last"}});
  CHECK(expiries.due(1'000'000 - 86'400) == Lines{});
  CHECK(expiries.due(1'000'000 - 86'399) == Lines{"this ends on 1970-01-12 13:46:40 UTC"});
  CHECK(expiries.due(1'000'000 - 86'399) == Lines{});
  CHECK(expiries.due(1'000'000) == Lines{"that ends on 1970-01-13 03:40:00 UTC"});
  CHECK(expiries.due(1'000'001) == Lines{"this has ended on 1970-01-12 13:46:40 UTC"});
  CHECK(expiries.due(1'990'000) ==
        Lines{"that has ended on 1970-01-13 03:40:00 UTC", "the last ends on 1970-01-24 03:33:20 UTC"});
  CHECK(expiries.due(3'000'000) == Lines{"the last has ended on 1970-01-24 03:33:20 UTC"});
  CHECK(expiries.due(4'000'000) == Lines{});
}
