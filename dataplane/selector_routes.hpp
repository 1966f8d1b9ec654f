// Routes that follow the SAs of tunnels to anywhere (channel::SetTunnel::remote not set): what an outbound
// SA's remote selectors have leads into its tunnel for as long as there is that SA. Main thread only.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "channel/messages.hpp"
#include "dataplane/tables/rib.hpp"

namespace espgate::dataplane {

class SelectorRoutes {
 public:
  explicit SelectorRoutes(Ribs& ribs) noexcept : ribs_(ribs) {}

  // Of an SA whose selectors were checked. False: the table is full, and nothing was added.
  [[nodiscard]] bool add(TableId table, std::uint32_t tunnel, std::uint32_t spi,
                         const channel::Selectors& selectors);
  void remove(std::uint32_t tunnel, std::uint32_t spi);  // no effect for an SA that has none
  void remove_all_of(std::uint32_t tunnel);

 private:
  struct OfSa {
    TableId table;
    std::vector<IpPrefix> prefixes;
  };
  using OfSas = std::map<std::pair<std::uint32_t, std::uint32_t>, OfSa>;  // by tunnel and SPI

  bool add_one(TableId table, std::uint32_t tunnel, const IpPrefix& prefix);
  OfSas::iterator remove(OfSas::iterator sa);

  Ribs& ribs_;
  OfSas of_sas_;
  std::map<std::pair<std::uint32_t, IpPrefix>, unsigned>
      counts_;  // of a tunnel's SAs: its old one, and the new
};

}  // namespace espgate::dataplane
