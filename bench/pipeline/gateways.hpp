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
  Gateways(const Case& which, rte_mempool* pool);
  ~Gateways();
  Gateways(const Gateways&) = delete;
  Gateways& operator=(const Gateways&) = delete;

  dataplane::Worker& worker() noexcept { return worker_; }
  void be_sender() noexcept { worker_.tables = &sender_; }
  void be_receiver() noexcept { worker_.tables = &receiver_; }
  [[nodiscard]] const channel::InstallSa& command(std::uint32_t tunnel) const { return commands_[tunnel]; }
  [[nodiscard]] const crypto::SaKey* key() const { return &sender_.outbound[0][0].key; }
  // Counted drops in words; empty: none.
  [[nodiscard]] std::string drops() const;

  // The inner destination that `sender` routes to `tunnel`, in host byte order.
  [[nodiscard]] static std::uint32_t destination(std::uint32_t tunnel) noexcept {
    return (16U << 24) + (tunnel << 8) + 1;
  }

 private:
  void add_ports();
  void add_tunnel(std::uint32_t tunnel, const crypto::SuiteRow& suite);

  channel::Hello shape_;
  channel::CountersPage page_;
  dataplane::Forwarding sender_;
  dataplane::Forwarding receiver_;
  dataplane::Worker worker_;
  std::vector<dataplane::Worker*> workers_;
  std::vector<rte_ring*> rings_;
  std::vector<channel::InstallSa> commands_;
  decltype(channel::InstallSa::keys) keys_;
  dataplane::SelectorSet selectors_;
  dataplane::Tunnel tunnel_;
};

}  // namespace espgate::bench
