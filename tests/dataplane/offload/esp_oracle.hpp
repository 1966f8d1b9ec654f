// ESP by OpenSSL, and nothing of ours but the table of the suites' names and lengths: what cards and crypto
// devices are checked against, and what the modelled card works with.
#pragma once

#include <optional>

#include "crypto/suite.hpp"
#include "tests/dataplane/frames.hpp"

namespace espgate::test {

struct OracleSa {
  const crypto::SuiteRow* suite;
  Octets keys;  // cipher key | salt | integrity key
};

// `esp`: from the SPI to before the ICV, the payload in clear with its trailer, the IV in its place. Returns
// the ESP packet with its ICV. Throws when OpenSSL does.
[[nodiscard]] Octets oracle_seal(const OracleSa& sa, const Octets& esp);
// The same bytes back from a whole ESP packet; none: the ICV is wrong.
[[nodiscard]] std::optional<Octets> oracle_open(const OracleSa& sa, const Octets& esp);

}  // namespace espgate::test
