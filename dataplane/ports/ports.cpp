#include "dataplane/ports/ports.hpp"

#include <net/if.h>
#include <netpacket/packet.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <stdexcept>

#include "conf/load.hpp"
#include "dataplane/log.hpp"
#include "dataplane/ports/nd.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint16_t kDescriptors = 1024;
constexpr std::uint16_t kFrameExtra = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN + RTE_VLAN_HLEN;

[[noreturn]] void fail(const std::string& port, const char* what, int error) {
  throw std::runtime_error(
      fmt::format("port {}: {}: {}", port, what, rte_strerror(error < 0 ? -error : error)));
}

void check(const std::string& port, const char* what, int result) {
  if (result < 0) fail(port, what, result);
}

// Asks the kernel about the interface with this index, in this process's network namespace.
bool ask_kernel(unsigned index, unsigned long request, ifreq& answer) noexcept {
  if (if_indextoname(index, answer.ifr_name) == nullptr) return false;
  const channel::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return socket && ioctl(socket.get(), request, &answer) == 0;
}

// What a kernel interface lets through, packet sockets get. The kernel forgets the wish with the socket, so
// nothing is left behind. None: there is no such interface, or it refuses.
channel::Fd join_by_kernel(unsigned interface, const std::set<Mac>& groups) {
  if (interface == 0) return {};
  channel::Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  for (const Mac& group : groups) {
    packet_mreq wish{};
    wish.mr_ifindex = static_cast<int>(interface);
    wish.mr_type = PACKET_MR_MULTICAST;
    wish.mr_alen = RTE_ETHER_ADDR_LEN;
    std::copy(group.begin(), group.end(), wish.mr_address);
    if (setsockopt(socket.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &wish, sizeof(wish)) != 0) return {};
  }
  return socket;
}

// Ports over kernel interfaces report odd limits; what counts is the interface's own MTU.
void check_kernel_mtu(const std::string& port, unsigned index, std::uint16_t mtu) {
  ifreq request{};
  if (!ask_kernel(index, SIOCGIFMTU, request) || request.ifr_mtu >= mtu) return;
  throw std::runtime_error(
      fmt::format("port {}: MTU {} is more than the kernel interface {} has ({}): ip link set {} mtu {}",
                  port, mtu, request.ifr_name, request.ifr_mtu, request.ifr_name, mtu));
}

void set_mtu(const std::string& port, std::uint16_t ethdev, std::uint16_t mtu, unsigned kernel_interface) {
  if (kernel_interface != 0) return check_kernel_mtu(port, kernel_interface, mtu);
  std::uint16_t present = 0;
  if (rte_eth_dev_get_mtu(ethdev, &present) == 0 && present == mtu) return;
  const int result = rte_eth_dev_set_mtu(ethdev, mtu);
  if (result == -ENOTSUP && present >= mtu) return;
  check(port, "setting the MTU", result);
}

rte_eth_conf configuration_for(const rte_eth_dev_info& info, std::uint16_t queues,
                               std::uint16_t mtu) noexcept {
  rte_eth_conf conf{};
  std::uint32_t most = std::max<std::uint32_t>(info.max_mtu, RTE_ETHER_MIN_MTU);
  // af_packet says 1518 bytes whatever its interface carries; check_kernel_mtu looks at that.
  if (info.if_index != 0) most = std::min(most, info.max_rx_pktlen - RTE_ETHER_HDR_LEN - RTE_ETHER_CRC_LEN);
  conf.rxmode.mtu = std::min<std::uint32_t>(mtu, most);
  if (info.max_mtu == 0) conf.rxmode.mtu = RTE_ETHER_MTU;
  const std::uint64_t hash =
      info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_ESP);
  if (queues > 1 && hash != 0) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = hash;
  }
  // Buffers hold whole frames, but a driver may count on less of one than there is (e1000: powers of two).
  if (mtu > RTE_ETHER_MTU) conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
  return conf;
}

// What is not used is not asked for: with it some drivers leave their fastest receive functions.
void enable_security(rte_eth_conf& conf, const rte_eth_dev_info& info, std::uint16_t ethdev) noexcept {
  if (rte_eth_dev_get_sec_ctx(ethdev) == nullptr) return;
  conf.rxmode.offloads |= info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SECURITY;
  conf.txmode.offloads |= info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_SECURITY;
}

// The configuration was checked: there is a port of that name, with a device.
unsigned parent_of(const std::vector<conf::Port>& ports, unsigned index) {
  if (ports[index].parent.empty()) return index;
  const auto named = [&](const conf::Port& port) { return port.name == ports[index].parent; };
  return static_cast<unsigned>(std::find_if(ports.begin(), ports.end(), named) - ports.begin());
}

std::string driver_of(std::uint16_t ethdev) {
  rte_eth_dev_info info{};
  return rte_eth_dev_info_get(ethdev, &info) == 0 && info.driver_name != nullptr ? info.driver_name : "?";
}

}  // namespace

std::uint16_t buffer_size(const std::vector<conf::Port>& ports) noexcept {
  std::uint16_t largest = 0;
  for (const conf::Port& port : ports) largest = std::max(largest, port.mtu);
  // ESP's trailer and ICV go behind the packet.
  const unsigned needed = largest + kFrameExtra + 128U;
  // Cards with registers for it (ixgbe) count buffers in KiB, and would not use what is beyond.
  return static_cast<std::uint16_t>(std::max(2048U, (needed + 1023U) / 1024U * 1024U));
}

Ports::Ports(const std::vector<conf::Port>& wanted, Forwarding& tables, Interfaces& interfaces,
             channel::CountersPage& page, rte_mempool* pool, unsigned workers)
    : tables_(tables), interfaces_(interfaces), page_(page), workers_(workers) {
  for (unsigned i = 0; i < wanted.size(); i++) {
    State port{.name = wanted[i].name,
               .parent = parent_of(wanted, i),
               .ethdev = 0,
               .receive_queues = 0,
               .transmit_queues = 0,
               .kernel_interface = 0,
               .hashes = false,
               .hashes_spi = false,
               .seals = false,
               .opens = false,
               .must_offload = wanted[i].offload == conf::Offload::require,
               .started = false,
               .steering = nullptr,
               .groups = {}};
    ports_.push_back(std::move(port));
    if (ports_[i].parent == i) open(ports_[i], wanted[i], i, pool);
  }
  for (unsigned i = 0; i < wanted.size(); i++) {
    ports_[i].ethdev = ports_[ports_[i].parent].ethdev;
    publish(i, wanted[i], interfaces);
  }
}

Ports::~Ports() {
  for (unsigned p = 0; p < ports_.size(); p++) {
    State& port = ports_[p];
    if (port.parent != p) continue;
    port.steering.reset();
    if (port.started) rte_eth_dev_stop(port.ethdev);
    rte_eth_dev_close(port.ethdev);
  }
}

void Ports::open(State& port, const conf::Port& wanted, unsigned index, rte_mempool* pool) {
  const std::string device = conf::device_args(wanted, index).ethdev_name;
  check(port.name, ("no DPDK device " + device).c_str(),
        rte_eth_dev_get_port_by_name(device.c_str(), &port.ethdev));
  configure(port, wanted, pool);
}

void Ports::configure(State& port, const conf::Port& wanted, rte_mempool* pool) {
  rte_eth_dev_info info{};
  check(port.name, "asking for its abilities", rte_eth_dev_info_get(port.ethdev, &info));
  port.kernel_interface = info.if_index;
  port.receive_queues = static_cast<std::uint16_t>(std::min<unsigned>(workers_, info.max_rx_queues));
  port.transmit_queues = static_cast<std::uint16_t>(std::min<unsigned>(workers_, info.max_tx_queues));
  rte_eth_conf conf = configuration_for(info, port.receive_queues, wanted.mtu);
  if (wanted.offload != conf::Offload::never) enable_security(conf, info, port.ethdev);
  port.opens = (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_SECURITY) != 0;
  port.seals = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_SECURITY) != 0;
  // Without a way to spread packets, further queues would stay empty.
  if (port.receive_queues > 1 && conf.rxmode.mq_mode != RTE_ETH_MQ_RX_RSS && port.kernel_interface == 0)
    port.receive_queues = 1;
  port.hashes = conf.rxmode.mq_mode == RTE_ETH_MQ_RX_RSS;
  port.hashes_spi = (conf.rx_adv_conf.rss_conf.rss_hf & RTE_ETH_RSS_ESP) != 0;
  check(port.name, "configuring",
        rte_eth_dev_configure(port.ethdev, port.receive_queues, port.transmit_queues, &conf));
  std::uint16_t receive = kDescriptors;
  std::uint16_t transmit = kDescriptors;
  check(port.name, "sizing its queues", rte_eth_dev_adjust_nb_rx_tx_desc(port.ethdev, &receive, &transmit));
  const auto socket = static_cast<unsigned>(std::max(0, rte_eth_dev_socket_id(port.ethdev)));
  for (std::uint16_t q = 0; q < port.receive_queues; q++)
    check(port.name, "setting up a receive queue",
          rte_eth_rx_queue_setup(port.ethdev, q, receive, socket, nullptr, pool));
  for (std::uint16_t q = 0; q < port.transmit_queues; q++)
    check(port.name, "setting up a transmit queue",
          rte_eth_tx_queue_setup(port.ethdev, q, transmit, socket, nullptr));
  set_mtu(port.name, port.ethdev, wanted.mtu, port.kernel_interface);
}

void Ports::publish(std::uint32_t index, const conf::Port& wanted, Interfaces& interfaces) {
  Interface interface {
    .name = wanted.name, .mac = {}, .addresses = wanted.addresses, .link_local = {}, .vlan = wanted.vlan
  };
  rte_ether_addr mac{};
  check(wanted.name, "asking for its MAC address", rte_eth_macaddr_get(ports_[index].ethdev, &mac));
  std::copy_n(mac.addr_bytes, 6, interface.mac.begin());
  interface.link_local = link_local_of(interface.mac);
  PortInfo& info = tables_.ports[index];
  info.mac = interface.mac;
  info.mtu = wanted.mtu;
  info.ethdev = ports_[index].ethdev;
  info.vlan = wanted.vlan;
  info.parent = static_cast<std::uint8_t>(ports_[index].parent);
  if (wanted.vlan != 0) tables_.vlans[info.parent][wanted.vlan] = static_cast<std::uint8_t>(index + 1);
  for (const IpPrefix& own : wanted.addresses) {
    IpAddress& first = own.address.is_v4() ? info.address4 : info.address6;
    if (!first.is_set()) first = own.address;
  }
  channel::PortStatus& status = page_.port(index);
  wanted.name.copy(status.name.data(), status.name.size() - 1);
  std::uint64_t number = 0;
  for (const std::uint8_t byte : interface.mac) number = number << 8 | byte;
  status.mac.store(number, std::memory_order_relaxed);
  status.mtu.store(wanted.mtu, std::memory_order_relaxed);
  status.flags.store(static_cast<std::uint32_t>(channel::PortFlags::present), std::memory_order_relaxed);
  interfaces.push_back(std::move(interface));
}

// So that ports of one queue spread over the workers. The receive queues that are polled and those that the
// card steers to must agree.
std::uint32_t Ports::worker_of(unsigned port, unsigned queue) const noexcept {
  return (queue + port) % workers_;
}

void Ports::wire(std::vector<Worker*>& workers) const {
  for (unsigned p = 0; p < ports_.size(); p++) {
    const auto port = static_cast<std::uint8_t>(p);
    for (std::uint16_t q = 0; q < ports_[p].receive_queues; q++)
      workers[worker_of(p, q)]->receive.push_back({port, q});
    const unsigned device = ports_[p].parent;
    for (unsigned w = 0; w < workers_; w++) {
      const unsigned place = (w + workers_ - device % workers_) % workers_;
      const auto queue = static_cast<std::uint16_t>(place % ports_[device].transmit_queues);
      workers[w]->transmit_queues[p] = {queue, static_cast<std::uint16_t>(worker_of(device, queue))};
    }
  }
}

void Ports::start() {
  for (unsigned p = 0; p < ports_.size(); p++) {
    State& port = ports_[p];
    if (port.parent != p) continue;
    check(port.name, "starting", rte_eth_dev_start(port.ethdev));
    port.started = true;
    listen_to_groups(p);
    if (port.receive_queues > 1) steer(p);
  }
  for (unsigned p = 0; p < ports_.size(); p++) tell_spreading(p);
}

// Neighbour discovery comes by multicast. A device lets no more of it through than is wanted, if it can be
// told which; other stations' unicast only if it knows neither that nor all of multicast.
void Ports::listen_to_groups(unsigned index) {
  State& port = ports_[index];
  std::set<Mac> groups;
  for (unsigned p = 0; p < ports_.size(); p++)
    if (ports_[p].parent == index)
      for (const Mac& group : discovery_groups(interfaces_[p])) groups.insert(group);
  std::vector<rte_ether_addr> list;
  for (const Mac& group : groups) std::copy(group.begin(), group.end(), list.emplace_back().addr_bytes);
  if (rte_eth_dev_set_mc_addr_list(port.ethdev, list.data(), static_cast<std::uint32_t>(list.size())) == 0)
    return;
  port.groups = join_by_kernel(port.kernel_interface, groups);
  if (port.groups) return;
  if (rte_eth_allmulticast_enable(port.ethdev) == 0)
    return log_line("port {}: receives all multicast, because {} can't be told which", port.name,
                    driver_of(port.ethdev));
  const bool done = rte_eth_promiscuous_enable(port.ethdev) == 0;
  log_line("port {}: {}, because {} can't be told which multicast is wanted", port.name,
           done ? "promiscuous" : "neighbour discovery may not work", driver_of(port.ethdev));
}

// For `show interfaces`.
void Ports::tell_spreading(unsigned index) {
  const State& port = ports_[ports_[index].parent];
  channel::PortStatus& status = page_.port(index);
  driver_of(port.ethdev).copy(status.driver.data(), status.driver.size() - 1);
  status.receive_queues.store(port.receive_queues, std::memory_order_relaxed);
  status.transmit_queues.store(port.transmit_queues, std::memory_order_relaxed);
  std::string words = port.hashes               ? port.hashes_spi ? "spread by addresses, ports and SPI (RSS)"
                                                                  : "spread by addresses and ports (RSS)"
                      : port.receive_queues > 1 ? "spread by the kernel"
                                                : "one receive queue";
  if (port.steering) words += "; " + port.steering->describe(port.hashes_spi);
  words.copy(status.spreading.data(), status.spreading.size() - 1);
}

void Ports::offer_cards(Offload& offload) const {
  for (unsigned p = 0; p < ports_.size(); p++) {
    const State& port = ports_[p];
    if (port.parent != p) continue;  // a card's ESP does not look behind a tag
    std::unique_ptr<Card> card =
        Card::probe(port.name, static_cast<std::uint8_t>(p), port.ethdev, port.opens, port.seals);
    if (!card && port.must_offload)
      throw std::runtime_error(
          fmt::format("port {}: offload is required, and its card or driver has no inline IPsec cryptography",
                      port.name));
    if (!card) continue;
    log_line("port {}: the card does ESP: {}", port.name, card->describe());
    offload.add(std::move(card), [this, p](std::uint32_t worker) -> std::optional<std::uint16_t> {
      for (std::uint16_t q = 0; q < ports_[p].receive_queues; q++)
        if (worker_of(p, q) == worker) return q;
      return {};
    });
  }
}

void Ports::steer(unsigned index) {
  State& port = ports_[index];
  std::vector<std::uint32_t> workers;
  for (std::uint16_t q = 0; q < port.receive_queues; q++) workers.push_back(worker_of(index, q));
  port.steering = std::make_unique<Steering>(port.name, port.ethdev, workers);
  log_line("port {}: {}", port.name, port.steering->describe(port.hashes_spi));
}

bool Ports::link_up(const State& port) const noexcept {
  ifreq request{};
  // Ports over kernel interfaces call themselves up whatever happens to the interface, even if it is gone.
  if (port.kernel_interface != 0)
    return ask_kernel(port.kernel_interface, SIOCGIFFLAGS, request) && (request.ifr_flags & IFF_UP) != 0 &&
           (request.ifr_flags & IFF_RUNNING) != 0;
  rte_eth_link link{};
  return rte_eth_link_get_nowait(port.ethdev, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

void Ports::read_statistics(unsigned index) noexcept {
  const State& port = ports_[index];
  channel::PortStatus& status = page_.port(index);
  rte_eth_stats stats{};
  if (rte_eth_stats_get(port.ethdev, &stats) == 0) {
    status.missed.store(stats.imissed, std::memory_order_relaxed);
    status.no_buffer.store(stats.rx_nombuf, std::memory_order_relaxed);
    status.receive_errors.store(stats.ierrors, std::memory_order_relaxed);
    status.transmit_errors.store(stats.oerrors, std::memory_order_relaxed);
  }
  rte_eth_link link{};
  // Drivers over kernel interfaces make their speed up.
  if (port.kernel_interface != 0 || rte_eth_link_get_nowait(port.ethdev, &link) != 0) return;
  const bool known = link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN;
  status.speed.store(known ? link.link_speed : 0, std::memory_order_relaxed);
}

void Ports::poll(const std::function<void(std::uint32_t, bool)>& changed) {
  for (std::uint32_t i = 0; i < ports_.size(); i++) {
    channel::PortStatus& status = page_.port(i);
    if (ports_[i].parent == i) read_statistics(i);
    const bool up = link_up(ports_[ports_[i].parent]);
    if (up == tables_.ports[i].up.load(std::memory_order_relaxed)) continue;
    tables_.ports[i].up.store(up, std::memory_order_relaxed);
    const auto present = static_cast<std::uint32_t>(channel::PortFlags::present);
    const auto link = static_cast<std::uint32_t>(channel::PortFlags::link_up);
    status.flags.store(up ? present | link : present, std::memory_order_relaxed);
    changed(i, up);
  }
}

}  // namespace espgate::dataplane
