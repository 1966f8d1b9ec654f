// The gateway that is measured: one worker, and two sets of tables for it. `sender` routes to tunnels and
// holds the outbound SAs; `receiver` holds the inbound SAs of the same keys and routes to a port. So one
// worker can do either way, or one after the other on the same packets.
#pragma once

#include <memory>
#include <vector>

#include "bench/pipeline/options.hpp"
#include "channel/region.hpp"
#include "dataplane/tables/forwarding.hpp"
#include "dataplane/worker.hpp"

namespace espgate::bench {

inline constexpr std::uint8_t kOutside = 0;
inline constexpr std::uint8_t kInside = 1;

class Gateways {
 public:
  // Every worker has `which.tunnels` tunnels of its own.
  Gateways(const Case& which, std::uint32_t workers, bool spread, rte_mempool* pool);
  ~Gateways();
  Gateways(const Gateways&) = delete;
  Gateways& operator=(const Gateways&) = delete;

  dataplane::Worker& worker(std::uint32_t index) noexcept { return *workers_[index]; }
  // A worker is a gateway's by its `tables`.
  dataplane::Forwarding& sender() noexcept { return sender_; }
  dataplane::Forwarding& receiver() noexcept { return receiver_; }
  // The key material of all SAs, and its expanded form. It is the same for all, so that whoever makes the
  // sealed packets does it with one key and leaves the caches to the gateway; there every SA has its own
  // copy.
  [[nodiscard]] const auto& keys() const noexcept { return keys_; }
  [[nodiscard]] const crypto::SaKey* key() const { return &sender_.outbound[0][0].key; }
  // Counted drops in words; empty: none.
  [[nodiscard]] std::string drops() const;

  // The inner destination that `sender` routes to `tunnel`, in host byte order.
  [[nodiscard]] static std::uint32_t destination(std::uint32_t tunnel) noexcept {
    return (16U << 24) + (tunnel << 8) + 1;
  }

 private:
  void add_ports();
  void add_worker(std::uint32_t index, rte_mempool* pool);
  void add_tunnel(std::uint32_t worker, std::uint32_t slot, const Case& which);

  [[nodiscard]] std::uint32_t group_of(std::uint32_t tunnel);

  bool spread_;
  channel::Hello shape_;
  channel::CountersPage page_;
  dataplane::Forwarding sender_;
  dataplane::Forwarding receiver_;
  std::vector<std::unique_ptr<dataplane::Worker>> owned_;
  std::vector<dataplane::Worker*> workers_;
  std::vector<rte_ring*> rings_;
  decltype(channel::InstallSa::keys) keys_;
  dataplane::SelectorSet selectors_;
  dataplane::Tunnel tunnel_;
  std::vector<std::unique_ptr<dataplane::Group>> groups_;
  std::vector<std::unique_ptr<dataplane::GroupPackets[]>> packets_;
};

}  // namespace espgate::bench
