#include "dataplane/ports/device.hpp"

#include <net/if.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "dataplane/log.hpp"
#include "dataplane/pool.hpp"
#include "dataplane/ports/kernel.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint16_t kDescriptors = 1024;
// Of one queue: half are the kernel's to fill, and those it has sent come back late.
constexpr unsigned kKernelsBuffers = 8192;

// Ports over kernel interfaces report odd limits; what counts is the interface's own MTU.
void check_kernel_mtu(const std::string& port, unsigned index, std::uint16_t mtu) {
  ifreq request{};
  if (!ask_kernel(index, SIOCGIFMTU, request) || request.ifr_mtu >= mtu) return;
  throw std::runtime_error(
      fmt::format("port {}: MTU {} is more than the kernel interface {} has ({}): ip link set {} mtu {}",
                  port, mtu, request.ifr_name, request.ifr_mtu, request.ifr_name, mtu));
}

rte_eth_conf configuration_for(const rte_eth_dev_info& info, std::uint16_t queues,
                               std::uint16_t mtu) noexcept {
  rte_eth_conf conf{};
  std::uint32_t most = std::max<std::uint32_t>(info.max_mtu, RTE_ETHER_MIN_MTU);
  // af_packet says 1518 bytes whatever its interface carries; check_kernel_mtu looks at that.
  if (info.if_index != 0) most = std::min(most, info.max_rx_pktlen - RTE_ETHER_HDR_LEN - RTE_ETHER_CRC_LEN);
  conf.rxmode.mtu = std::min<std::uint32_t>(mtu, most);
  if (info.max_mtu == 0) conf.rxmode.mtu = RTE_ETHER_MTU;
  conf.intr_conf.rmv = (*info.dev_flags & RTE_ETH_DEV_INTR_RMV) != 0 ? 1 : 0;
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

}  // namespace

Device::Device(const conf::Port& wanted, unsigned index, unsigned workers, rte_mempool* pool)
    : wanted_(wanted), device_(conf::device_args(wanted, index)), workers_(workers), pool_(pool) {
  try {
    open();
  } catch (...) {
    close();
    throw;
  }
}

Device::~Device() { close(); }

void Device::check(const char* what, int result) const {
  if (result < 0)
    throw std::runtime_error(fmt::format("port {}: {}: {}", wanted_.name, what, rte_strerror(-result)));
}

void Device::close() noexcept {
  if (!std::exchange(there_, false)) return;
  ignore_events();
  steering_.reset();
  groups_ = {};
  if (std::exchange(started_, false)) rte_eth_dev_stop(ethdev_);
  rte_eth_dev_close(ethdev_);
}

void Device::open() {
  const std::string& name = device_.ethdev_name;
  check(("no DPDK device " + name).c_str(), rte_eth_dev_get_port_by_name(name.c_str(), &ethdev_));
  there_ = true;
  heard_.store(Health::well, std::memory_order_relaxed);
  watch_events();
  const auto before = xdp_descriptors();
  const auto note_made = [&] {
    made_.clear();
    if (own_pool_)
      for (const auto& one : xdp_descriptors())
        if (!before.contains(one.first)) made_.insert(one);
  };
  try {
    configure();
  } catch (...) {
    note_made();
    throw;
  }
  note_made();
}

// Workers were given their queues at the start, and keep them.
void Device::choose_queues(const rte_eth_dev_info& info, const rte_eth_conf& conf) {
  auto receive = static_cast<std::uint16_t>(std::min<unsigned>(workers_, info.max_rx_queues));
  const auto transmit = static_cast<std::uint16_t>(std::min<unsigned>(workers_, info.max_tx_queues));
  // Without a way to spread packets, further queues would stay empty.
  if (receive > 1 && conf.rxmode.mq_mode != RTE_ETH_MQ_RX_RSS && kernel_interface_ == 0) receive = 1;
  const bool first = receive_queues_ == 0;
  if (!first && (receive != receive_queues_ || transmit != transmit_queues_))
    throw std::runtime_error(
        fmt::format("port {}: has {} receive and {} transmit queues now, and had {} and {}", wanted_.name,
                    receive, transmit, receive_queues_, transmit_queues_));
  receive_queues_ = receive;
  transmit_queues_ = transmit;
}

void Device::configure() {
  rte_eth_dev_info info{};
  check("asking for its abilities", rte_eth_dev_info_get(ethdev_, &info));
  kernel_interface_ = info.if_index;
  rte_eth_conf conf = configuration_for(
      info, static_cast<std::uint16_t>(std::min<unsigned>(workers_, info.max_rx_queues)), wanted_.mtu);
  choose_queues(info, conf);
  if (wanted_.offload != conf::Offload::never) enable_security(conf, info, ethdev_);
  opens_ = (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_SECURITY) != 0;
  seals_ = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_SECURITY) != 0;
  hashes_ = conf.rxmode.mq_mode == RTE_ETH_MQ_RX_RSS;
  hashes_spi_ = (conf.rx_adv_conf.rss_conf.rss_hf & RTE_ETH_RSS_ESP) != 0;
  check("configuring", rte_eth_dev_configure(ethdev_, receive_queues_, transmit_queues_, &conf));
  std::uint16_t receive = kDescriptors;
  std::uint16_t transmit = kDescriptors;
  check("sizing its queues", rte_eth_dev_adjust_nb_rx_tx_desc(ethdev_, &receive, &transmit));
  const auto socket = static_cast<unsigned>(std::max(0, rte_eth_dev_socket_id(ethdev_)));
  rte_mempool* const pool = pool_for(info);
  for (std::uint16_t q = 0; q < receive_queues_; q++)
    check("setting up a receive queue", rte_eth_rx_queue_setup(ethdev_, q, receive, socket, nullptr, pool));
  for (std::uint16_t q = 0; q < transmit_queues_; q++)
    check("setting up a transmit queue", rte_eth_tx_queue_setup(ethdev_, q, transmit, socket, nullptr));
  set_mtu();
}

void Device::set_mtu() {
  const std::uint16_t mtu = wanted_.mtu;
  if (kernel_interface_ != 0) return check_kernel_mtu(wanted_.name, kernel_interface_, mtu);
  std::uint16_t present = 0;
  if (rte_eth_dev_get_mtu(ethdev_, &present) == 0 && present == mtu) return;
  const int result = rte_eth_dev_set_mtu(ethdev_, mtu);
  if (result == -ENOTSUP && present >= mtu) return;
  check("setting the MTU", result);
}

// af_xdp never gives back what it gave to the kernel. From a pool that nobody else takes from, that can be
// told: no cache, so that what is free is in one place.
rte_mempool* Device::pool_for(const rte_eth_dev_info& info) {
  if (info.driver_name == nullptr || std::strcmp(info.driver_name, "net_af_xdp") != 0) return pool_;
  if (!own_pool_)
    own_pool_.reset(make_packet_pool((device_.ethdev_name + "-packets").c_str(),
                                     receive_queues_ * kKernelsBuffers, 0,
                                     rte_pktmbuf_data_room_size(pool_)));
  if (!own_pool_)
    throw std::runtime_error(
        fmt::format("port {}: no memory for packet buffers of its own: {}; give `memory` more", wanted_.name,
                    rte_strerror(rte_errno)));
  return own_pool_.get();
}

// A port's interface is up. Who else sets it up just now may find it down again: drivers read all its flags
// and write them back.
void Device::start() {
  check("starting", rte_eth_dev_start(ethdev_));
  started_ = true;
  if (kernel_interface_ != 0 && !set_up(kernel_interface_))
    log_line("port {}: its interface could not be set up", wanted_.name);
}

// A device lets no more multicast through than is wanted, if it can be told which; other stations' unicast
// only if it knows neither that nor all of multicast.
void Device::listen_to(const std::set<Mac>& groups) {
  std::vector<rte_ether_addr> list;
  for (const Mac& group : groups) std::copy(group.begin(), group.end(), list.emplace_back().addr_bytes);
  if (rte_eth_dev_set_mc_addr_list(ethdev_, list.data(), static_cast<std::uint32_t>(list.size())) == 0)
    return;
  groups_ = join_groups(kernel_interface_, groups);
  if (groups_) return;
  if (rte_eth_allmulticast_enable(ethdev_) == 0)
    return log_line("port {}: receives all multicast, because {} can't be told which", wanted_.name,
                    driver());
  const bool done = rte_eth_promiscuous_enable(ethdev_) == 0;
  log_line("port {}: {}, because {} can't be told which multicast is wanted", wanted_.name,
           done ? "promiscuous" : "neighbour discovery may not work", driver());
}

void Device::steer(std::span<const std::uint32_t> workers) {
  steering_ = std::make_unique<Steering>(wanted_.name, ethdev_, workers);
  log_line("port {}: {}", wanted_.name, steering_->describe(hashes_spi_));
}

Mac Device::mac() const {
  rte_ether_addr mac{};
  check("asking for its MAC address", rte_eth_macaddr_get(ethdev_, &mac));
  Mac bytes;
  std::copy_n(mac.addr_bytes, bytes.size(), bytes.begin());
  return bytes;
}

std::string Device::driver() const {
  rte_eth_dev_info info{};
  return rte_eth_dev_info_get(ethdev_, &info) == 0 && info.driver_name != nullptr ? info.driver_name : "?";
}

std::string Device::spreading() const {
  std::string words = hashes_               ? hashes_spi_ ? "spread by addresses, ports and SPI (RSS)"
                                                          : "spread by addresses and ports (RSS)"
                      : receive_queues_ > 1 ? "spread by the kernel"
                                            : "one receive queue";
  if (steering_) words += "; " + steering_->describe(hashes_spi_);
  return words;
}

}  // namespace espgate::dataplane
