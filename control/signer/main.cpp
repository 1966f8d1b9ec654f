// espgate-signer: keeps private keys, pre-shared keys and PPKs, and computes with them what the control
// process may ask. Serves one control process, and ends with it.
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <stdexcept>

#include "channel/region.hpp"
#include "conf/credentials.hpp"
#include "conf/load.hpp"
#include "control/process.hpp"
#include "control/signer/server.hpp"

namespace {

using namespace espgate;

// Of the first that connects. What listens is closed then: nobody else is served.
channel::Fd first_connection(channel::Fd listening) {
  for (;;) {
    pollfd waiting{listening.get(), POLLIN, 0};
    if (::poll(&waiting, 1, -1) < 0 && errno != EINTR) break;
    channel::Fd connection(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection) return connection;
    if (errno != EINTR && errno != EAGAIN && errno != ECONNABORTED) break;
  }
  throw std::runtime_error(fmt::format("espgate-signer can't be reached: {}", std::strerror(errno)));
}

int run(const control::ProcessOptions& options, control::Log& log) {
  conf::Configuration configuration = conf::load_file(options.config);
  // What is wrong only by now the control process tells.
  static_cast<void>(conf::load_credentials(configuration, options.config, std::time(nullptr)));
  confine::give_back_memory();
  const std::string runtime = options.runtime.empty() ? configuration.runtime_directory : options.runtime;
  control::log_shortcomings(log, confine::share_directory(runtime, configuration.user));
  signer::Server server(configuration.tunnels);
  channel::Fd listening =
      channel::listen_at(runtime + "/" + signer::kSocketName, channel::SocketKind::messages, 0660);
  log.info(fmt::format("espgate-signer {} for {}, tunnels: {}", ESPGATE_VERSION, configuration.name,
                       configuration.tunnels.size()));
  control::settle_libraries();
  control::log_shortcomings(log, confine::signer(configuration.user));
  const channel::Fd connection = first_connection(std::move(listening));
  if (server.serve(connection.get())) return 0;
  log.error("what came from the control process is no request; ended");
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  return espgate::control::process_main(argc, argv,
                                        "Keeps espgate's private keys, pre-shared keys and PPKs, and "
                                        "authenticates with them for espgate-control. "
                                        "Usually begun by `espgate run`.",
                                        run);
}
