// espgate-control: reads the configuration, speaks IKEv2, drives the dataplane, answers the shell.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <filesystem>

#include "conf/credentials.hpp"
#include "conf/load.hpp"
#include "control/event_loop.hpp"
#include "control/process.hpp"
#include "control/signer/remote_keeper.hpp"

namespace {

using namespace espgate;
using namespace std::chrono_literals;

constexpr auto kSignerStart = 10s;  // it reads the same file, and is begun along with us

bool needs_keys(const conf::Configuration& configuration) {
  return std::ranges::any_of(configuration.tunnels, [](const conf::Tunnel& t) { return !t.manual; });
}

// Where files are changed; empty: nowhere.
std::string state_of(const conf::Configuration& configuration) {
  const bool manual =
      std::ranges::any_of(configuration.tunnels, [](const auto& t) { return t.manual.has_value(); });
  return manual ? configuration.state_directory : std::string();
}

int run(const control::ProcessOptions& options, control::Log& log) {
  const auto [configuration, late] = conf::load_public(options.config, std::time(nullptr));
  for (const std::string& line : late) log.warning(line);
  confine::give_back_memory();
  const std::string runtime =
      std::filesystem::absolute(options.runtime.empty() ? configuration.runtime_directory : options.runtime);
  log.info(fmt::format("espgate-control {} for {}, tunnels: {}", ESPGATE_VERSION, configuration.name,
                       configuration.tunnels.size()));
  if (const std::string legacy = conf::legacy_words(configuration); !legacy.empty()) log.warning(legacy);
  control::log_shortcomings(log, confine::share_directory(runtime, configuration.user));
  std::filesystem::current_path(runtime);
  signer::RemoteKeeper keeper(signer::kSocketName, configuration.tunnels);
  control::EventLoop loop(configuration, keeper, runtime, log);
  if (needs_keys(configuration) && !keeper.wait_for_signer(kSignerStart))
    log.warning(
        "espgate-signer, which keeps the keys, does not run yet; no tunnel with IKE comes up without");
  control::settle_libraries();
  control::log_shortcomings(log, confine::control({configuration.user, runtime, state_of(configuration)}));
  loop.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return espgate::control::process_main(
      argc, argv,
      "The control process of espgate: IKEv2, and what the dataplane is told. Usually begun by `espgate "
      "run`.",
      run);
}
