// A burst of packets of one kind, in packet buffers, as received.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/path/packet.hpp"

namespace espgate::bench {

inline constexpr std::array<std::uint8_t, 6> kMac{2, 0, 0, 0, 0, 1};

// Writes packet `i` of a burst, from its IP header on, and returns its length. Their sources and ports
// differ; IPv4 goes to 10.2.0.<i>, IPv6 to 2001:db8:2::<i>.
using Writer = std::uint16_t (*)(std::uint8_t* ip, unsigned i);
std::uint16_t udp4(std::uint8_t* ip, unsigned i);
std::uint16_t udp4_with_options(std::uint8_t* ip, unsigned i);
std::uint16_t udp6(std::uint8_t* ip, unsigned i);
std::uint16_t udp6_extended(std::uint8_t* ip, unsigned i);  // behind two extension headers
std::uint16_t tcp4(std::uint8_t* ip, unsigned i);
std::uint16_t tcp4_syn(std::uint8_t* ip, unsigned i);  // with options, as hosts send it; the MSS is 65,535
std::uint16_t esp4(std::uint8_t* ip, unsigned i);      // for slot `i` of worker 0
std::uint16_t large4(std::uint8_t* ip, unsigned i);    // 1500 bytes

class Packets {
 public:
  explicit Packets(Writer writer);
  ~Packets();
  Packets(const Packets&) = delete;
  Packets& operator=(const Packets&) = delete;

  // As they were at first, in the buffers that they have.
  void write();
  [[nodiscard]] std::span<rte_mbuf*> frames() noexcept { return frames_; }
  // From the IP header on.
  [[nodiscard]] std::uint8_t* ip(unsigned i) const noexcept { return ip_[i]; }
  [[nodiscard]] std::uint16_t length(unsigned i) const noexcept { return lengths_[i]; }

 private:
  Writer writer_;
  rte_mempool* pool_;
  std::array<rte_mbuf*, dataplane::kBurst> frames_;
  std::array<std::uint8_t*, dataplane::kBurst> ip_;
  std::array<std::uint16_t, dataplane::kBurst> lengths_;
};

}  // namespace espgate::bench
