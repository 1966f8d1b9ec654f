// espgate-dataplane --config FILE.yaml [--runtime DIR]
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <string>

#include "channel/region.hpp"
#include "conf/load.hpp"
#include "confine/confine.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/gateway.hpp"
#include "dataplane/log.hpp"

namespace {

using namespace espgate;

std::atomic<bool> stop{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // it is set in a signal handler

struct Options {
  std::string config;
  std::string runtime;  // empty: the configuration's
};

constexpr const char* kUsage = "usage: espgate-dataplane --config FILE.yaml [--runtime DIR]\n";

std::optional<Options> parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    const std::string name = argv[i];
    if ((name != "--config" && name != "--runtime") || i + 1 >= argc) return std::nullopt;
    (name == "--config" ? options.config : options.runtime) = argv[++i];
  }
  if (options.config.empty()) return std::nullopt;
  return options;
}

void log_shortcomings(const confine::Shortcomings& shortcomings) {
  for (const std::string& words : shortcomings) dataplane::log_line("warning: not confined: {}", words);
}

bool is_kernel_interface(const conf::Port& port) {
  return !port.parent.empty() || port.device.starts_with("af_packet:") || port.device.starts_with("tap:");
}

confine::DataplaneNeeds needs_of(const conf::Configuration& configuration) {
  confine::DataplaneNeeds needs;
  needs.hardware = !std::ranges::all_of(configuration.ports, is_kernel_interface) ||
                   std::ranges::any_of(configuration.dataplane.crypto_devices, [](const auto& device) {
                     return !device.device.starts_with("crypto_");
                   });
  needs.namespaces =
      std::ranges::any_of(configuration.tables, [](const auto& table) { return !table.space.empty(); });
  return needs;
}

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { stop.store(true, std::memory_order_relaxed); };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

void serve(const Options& options) {
  conf::Configuration configuration = conf::load_file(options.config, conf::Secrets::skip);
  if (!options.runtime.empty()) configuration.runtime_directory = options.runtime;
  const std::string path = configuration.runtime_directory + "/dataplane.sock";
  log_shortcomings(confine::share_directory(configuration.runtime_directory, configuration.user));
  log_shortcomings(confine::dataplane(needs_of(configuration)));
  const dataplane::Eal eal(dataplane::eal_arguments(configuration));
  catch_signals();
  dataplane::Gateway gateway(configuration, path);
  dataplane::log_line("{} is forwarding: {} ports, {} workers, socket {}", configuration.name,
                      configuration.ports.size(), configuration.dataplane.workers.size(), path);
  gateway.run(stop);
  dataplane::log_line("stopping");
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse(argc, argv);
  if (!options) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  log_shortcomings(confine::keep_memory_private());
  channel::allow_many_descriptors();
  try {
    serve(*options);
    return 0;
  } catch (const std::exception& error) {
    dataplane::log_line("{}", error.what());
    return 1;
  }
}
