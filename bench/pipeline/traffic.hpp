// One burst of packets, made again before each measure, outside the measured time.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "bench/pipeline/gateways.hpp"
#include "bench/pipeline/options.hpp"

namespace espgate::bench {

class Traffic {
 public:
  // For the tunnels of one worker.
  Traffic(const Case& which, unsigned burst, rte_mempool* pool, Gateways& gateways, std::uint32_t worker);
  ~Traffic();
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  // The next burst, as received: plain frames, or frames with sealed packets whose sequence numbers are
  // fresh.
  void make_plain();
  void make_sealed();
  [[nodiscard]] std::span<rte_mbuf*> frames() noexcept { return {mbufs_.data(), mbufs_.size()}; }
  // As if the frames had just come from far away.
  void flush_from_caches() const noexcept;
  [[nodiscard]] std::uint64_t inner_bytes() const noexcept { return inner_bytes_; }

  // Where the ESP headers of a burst lie that make_sealed made or the encrypt way sealed, and their payloads.
  [[nodiscard]] std::span<std::uint8_t* const> esp() const noexcept { return esp_; }
  [[nodiscard]] std::span<const std::uint32_t> payloads() const noexcept { return payloads_; }

  // Whether what came out is what was put in: as many packets, in the same buffers and order, and where
  // `inner` says so, with the same contents.
  [[nodiscard]] bool came_out(const dataplane::TransmitBuffer& buffer, bool inner) const noexcept;

 private:
  struct Shape {
    std::uint16_t inner;
    std::uint32_t slot;  // of the worker's tunnels
    std::uint16_t port;  // UDP source: one for all, or each packet is another flow
  };
  void choose_shapes();
  void write_inner(std::uint8_t* at, const Shape& shape) const;
  void seal(std::size_t i, const Shape& shape);
  [[nodiscard]] std::uint32_t destination(const Shape& shape) const noexcept;
  [[nodiscard]] std::uint32_t payload_of(std::uint16_t inner) const noexcept;

  const Case& case_;
  Gateways& gateways_;
  std::uint32_t worker_;
  std::vector<rte_mbuf*> mbufs_;
  std::vector<Shape> shapes_;
  std::vector<std::uint8_t*> esp_;
  std::vector<std::uint32_t> payloads_;
  std::vector<crypto::EspJob> jobs_;
  std::vector<std::uint64_t> sequences_;  // by slot
  crypto::BulkEngine engine_;
  std::uint64_t made_{0};  // packets so far: says which tunnel and size come next
  std::uint64_t inner_bytes_{0};
};

}  // namespace espgate::bench
