#include "dataplane/eal.hpp"

#include <net/if.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>

#include "conf/load.hpp"
#include "dataplane/log.hpp"

namespace espgate::dataplane {

namespace {

std::uint64_t read_number(const std::filesystem::path& path) {
  std::uint64_t number = 0;
  std::ifstream(path) >> number;
  return number;
}

// "0@0,1@2,2@2": lcore at CPU; several lcores may share one.
std::string lcore_map(const conf::Dataplane& dataplane) {
  std::string map = fmt::format("0@{}", dataplane.main_cpu);
  for (std::size_t i = 0; i < dataplane.workers.size(); i++)
    map += fmt::format(",{}@{}", i + 1, dataplane.workers[i]);
  return map;
}

void add_memory(const conf::Dataplane& dataplane, std::vector<std::string>& arguments) {
  const unsigned free = free_hugepages_mib();
  const bool enough = free >= dataplane.memory_mib;
  if (dataplane.hugepages == conf::Hugepages::require && !enough)
    throw std::runtime_error(fmt::format("hugepages are required: {} MiB are wanted and {} MiB are free",
                                         dataplane.memory_mib, free));
  arguments.insert(arguments.end(), {"-m", std::to_string(dataplane.memory_mib)});
  if (dataplane.hugepages != conf::Hugepages::never && enough) {
    arguments.emplace_back("--in-memory");  // needs no hugetlbfs mount and leaves no files
    return;
  }
  arguments.insert(arguments.end(), {"--no-huge", "--no-shconf"});
  if (dataplane.hugepages == conf::Hugepages::automatic)
    log_line("warning: running without hugepages ({} MiB free, {} MiB wanted): slower under load", free,
             dataplane.memory_mib);
}

}  // namespace

unsigned free_hugepages_mib() {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (const auto& size : std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", error)) {
    const std::string name = size.path().filename();  // hugepages-2048kB
    const std::size_t dash = name.find('-');
    if (dash == std::string::npos) continue;
    bytes += std::strtoull(name.c_str() + dash + 1, nullptr, 10) * 1024 *
             read_number(size.path() / "free_hugepages");
  }
  return static_cast<unsigned>(bytes >> 20);
}

std::vector<std::string> eal_arguments(const conf::Configuration& configuration) {
  std::vector<std::string> arguments{
      "espgate-dataplane", "--no-telemetry", "--log-level=warning",
      "--log-level=lib.eal:error",  // it warns of page sizes that nobody wants
      // One for each runtime directory, where only one instance can listen.
      fmt::format("--file-prefix=espgate-{:016x}", std::hash<std::string>{}(configuration.runtime_directory)),
      fmt::format("--lcores={}", lcore_map(configuration.dataplane)), "--main-lcore=0"};
  add_memory(configuration.dataplane, arguments);
  bool pci = false;
  const auto add = [&](const conf::Device& device) {
    const auto& more = device.eal_arguments;
    pci = pci || std::find(more.begin(), more.end(), "-a") != more.end();
    arguments.insert(arguments.end(), more.begin(), more.end());
  };
  for (const conf::CryptoDevice& device : configuration.dataplane.crypto_devices)
    add(conf::crypto_device_args(device.device));
  for (unsigned i = 0; i < configuration.ports.size(); i++) {
    if (!configuration.ports[i].parent.empty()) continue;
    const conf::Device device = conf::device_args(configuration.ports[i], i);
    if (!device.interface.empty() && if_nametoindex(device.interface.c_str()) == 0)
      throw std::runtime_error(fmt::format("port {}: there is no network interface {}",
                                           configuration.ports[i].name, device.interface));
    add(device);
  }
  if (!pci) arguments.emplace_back("--no-pci");
  return arguments;
}

namespace {

// DPDK makes it even when it is told to share nothing.
void remove_runtime_folder() noexcept {
  std::error_code ignored;
  std::filesystem::remove_all(rte_eal_get_runtime_dir(), ignored);
}

}  // namespace

Eal::Eal(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) >= 0) return;
  const std::string why = rte_strerror(rte_errno);
  remove_runtime_folder();
  throw std::runtime_error("DPDK did not start: " + why +
                           " (are the CPUs of main-cpu and workers there, and the devices?)");
}

Eal::~Eal() {
  rte_eal_cleanup();
  remove_runtime_folder();
}

}  // namespace espgate::dataplane
