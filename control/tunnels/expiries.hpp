// What of the configuration ends some day, and is told of in the log a day before and when it does:
// certificates, revocation lists, OCSP responses, PPKs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "conf/schema.hpp"

namespace espgate::control {

// Times are Unix time in seconds.
struct Expiry {
  std::int64_t at{0};
  std::string what;  // "the revocation list of \"CN=root\""
};
// Each once, the first to end first.
[[nodiscard]] std::vector<Expiry> expiries_of(const conf::Configuration& configuration);

class Expiries {
 public:
  static constexpr std::int64_t kAhead = 86'400;
  explicit Expiries(std::vector<Expiry> all) : all_(std::move(all)) {}
  // What is to be said now, one line each; nothing twice.
  [[nodiscard]] std::vector<std::string> due(std::int64_t now);

 private:
  std::vector<Expiry> all_;
  std::size_t ended_{0};   // of them, those told to have ended
  std::size_t ending_{0};  // those told to end soon
};

}  // namespace espgate::control
