// What the pipeline benchmark is asked to measure: every combination of the lists.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "crypto/suite.hpp"

namespace espgate::bench {

enum class Way : std::uint8_t { encrypt, decrypt, chain };

// Inner packet sizes in bytes, from the IP header on; one size, or IMIX: 7:4:1 of 64, 570 and 1420.
struct Size {
  std::string name;
  std::vector<std::uint16_t> cycle;  // taken in turn
};

struct Case {
  Way way;
  const crypto::SuiteRow* suite;
  Size size;
  std::uint32_t tunnels;
  std::uint32_t per_sa;  // packets of one SA that follow each other
  bool groups;           // two tunnels each share their traffic by flow hash
};

struct Options {
  std::vector<Case> cases;
  std::uint32_t workers{1};
  unsigned burst{64};  // frames received at once
  unsigned samples{11};
  unsigned milliseconds{20};  // of measured time in each sample, about
  bool json{false};
  bool huge_pages{false};
  bool stages{false};
  bool groups{false};  // routes lead into groups of two tunnels each
  bool spread{false};  // the first worker has all tunnels, the others help it
  bool cold{false};    // frames are not in the caches when they are received
  unsigned bursts{0};  // not 0: carry so many and measure nothing, for a tool that counts instructions
  std::string plot;    // a file for a picture; empty: none
};

// Ends the process with a message when the arguments are not understood (2) or help is asked for (0).
[[nodiscard]] Options parse_options(int argc, char** argv);
[[nodiscard]] const char* name_of(Way way) noexcept;

}  // namespace espgate::bench
