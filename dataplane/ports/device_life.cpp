// What becomes of a device: what is heard of it, how it goes, and how it comes back.
// DPDK 22.11 calls its events about devices experimental.
#define ALLOW_EXPERIMENTAL_API

#include <net/if.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <utility>

#include "dataplane/log.hpp"
#include "dataplane/pool.hpp"
#include "dataplane/ports/device.hpp"
#include "dataplane/ports/kernel.hpp"

namespace espgate::dataplane {

namespace {

const std::string kPciDevices = "/sys/bus/pci/devices/";

// While one lives, DPDK keeps to itself what is expected to fail.
class Hush {
 public:
  explicit Hush(bool quiet) noexcept : level_(rte_log_get_global_level()) {
    if (quiet) rte_log_set_global_level(RTE_LOG_CRIT);
  }
  ~Hush() { rte_log_set_global_level(level_); }
  Hush(const Hush&) = delete;
  Hush& operator=(const Hush&) = delete;

 private:
  std::uint32_t level_;
};

// The events of a port, and of the device that it is: a card that VFIO is to give up is told of by the latter
// alone.
constexpr std::array<rte_eth_event_type, 2> kEvents{RTE_ETH_EVENT_INTR_RMV, RTE_ETH_EVENT_INTR_RESET};

int on_port_event(std::uint16_t, rte_eth_event_type event, void* device, void*) {
  const bool gone = event == RTE_ETH_EVENT_INTR_RMV;
  static_cast<Device*>(device)->hear(gone ? Device::Health::gone : Device::Health::wants_reset);
  return 0;
}

void on_device_event(const char*, rte_dev_event_type event, void* device) {
  if (event == RTE_DEV_EVENT_REMOVE) static_cast<Device*>(device)->hear(Device::Health::gone);
}

}  // namespace

// What is gone needs no reset.
void Device::hear(Health health) noexcept {
  Health before = Health::well;
  if (health == Health::gone) return heard_.store(health, std::memory_order_relaxed);
  heard_.compare_exchange_strong(before, health, std::memory_order_relaxed);
}

void Device::watch_events() noexcept {
  heard_.store(Health::well, std::memory_order_relaxed);
  for (const rte_eth_event_type event : kEvents)
    (void)rte_eth_dev_callback_register(ethdev_, event, on_port_event, this);
  (void)rte_dev_event_callback_register(device_.ethdev_name.c_str(), on_device_event, this);
}

// Refused while one is being told.
void Device::ignore_events() noexcept {
  for (const rte_eth_event_type event : kEvents)
    while (rte_eth_dev_callback_unregister(ethdev_, event, on_port_event, this) == -EAGAIN) sched_yield();
  while (rte_dev_event_callback_unregister(device_.ethdev_name.c_str(), on_device_event, this) == -EAGAIN)
    sched_yield();
}

Device::Health Device::health() const noexcept {
  std::array<char, IF_NAMESIZE> name;
  if (kernel_interface_ != 0 && if_indextoname(kernel_interface_, name.data()) == nullptr &&
      (driver() != "net_tap" || lost_a_tap()))
    return Health::gone;
  std::error_code ignored;
  if (on_pci() && !std::filesystem::exists(kPciDevices + device_.ethdev_name, ignored)) return Health::gone;
  return heard_.load(std::memory_order_relaxed);
}

// Ports over kernel interfaces call themselves up whatever happens to the interface.
bool Device::link_up() const noexcept {
  ifreq request{};
  if (kernel_interface_ != 0)
    return ask_kernel(kernel_interface_, SIOCGIFFLAGS, request) && (request.ifr_flags & IFF_UP) != 0 &&
           (request.ifr_flags & IFF_RUNNING) != 0;
  rte_eth_link link{};
  return rte_eth_link_get_nowait(ethdev_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

// What is gone can't be told to stop, and drivers complain of that. rte_dev_remove closes the port as well.
void Device::remove() noexcept {
  if (!std::exchange(there_, false)) return;
  const Hush hush(true);
  ignore_events();
  steering_.reset();
  groups_ = {};
  if (std::exchange(started_, false)) rte_eth_dev_stop(ethdev_);
  rte_eth_dev_info info{};
  if (rte_eth_dev_info_get(ethdev_, &info) != 0 || rte_dev_remove(info.device) != 0)
    log_line("port {}: DPDK could not remove its device: {}", wanted_.name, rte_strerror(rte_errno));
  if (!own_pool_) return;
  (void)take_back_empty(*own_pool_);
  // Some of these libxdp leaves open where the interface went first, some DPDK's driver.
  const std::map<int, std::string> left = xdp_descriptors();
  for (const auto& one : std::exchange(made_, {}))
    if (const auto same = left.find(one.first); same != left.end() && *same == one) ::close(one.first);
}

bool Device::can_return() const noexcept {
  if (!device_.interface.empty()) return if_nametoindex(device_.interface.c_str()) != 0;
  std::error_code ignored;
  return !on_pci() || std::filesystem::exists(kPciDevices + device_.ethdev_name + "/driver", ignored);
}

void Device::reopen(bool quiet) {
  const Hush hush(quiet);
  check("probing", rte_dev_probe(device_.eal_arguments.back().c_str()));
  try {
    open();
  } catch (...) {
    remove();
    throw;
  }
}

void Device::reset() {
  steering_.reset();
  started_ = false;
  heard_.store(Health::well, std::memory_order_relaxed);
  check("resetting", rte_eth_dev_reset(ethdev_));
  configure();
}

}  // namespace espgate::dataplane
