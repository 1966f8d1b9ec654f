// The control process's sockets, timer and signals around a Gateway. One thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <optional>
#include <string>

#include "control/gateway.hpp"
#include "control/shell/server.hpp"
#include "control/tunnels/expiries.hpp"

namespace espgate::control {

class EventLoop {
 public:
  // How long a shutdown waits at most for the dataplane to take the last commands and deletes.
  static constexpr std::chrono::milliseconds kFarewell{1500};

  // `configuration`, `keeper` and `log` must outlive the loop. The dataplane's socket is looked for in the
  // process's working directory, which for that is the runtime directory, whatever its path becomes. Throws
  // std::system_error when the shell's socket can't be made.
  EventLoop(const conf::Configuration& configuration, ike::Keeper& keeper,
            const std::string& runtime_directory, Log& log);

  // Until SIGTERM or SIGINT, and then until all SAs are deleted.
  void run();

 private:
  using Descriptor = boost::asio::posix::stream_descriptor;

  void connect();
  void connect_later(const std::string& why);
  void watch_wake();
  void watch_socket();
  void detach(const std::string& why);
  void settle();
  void arm_timer();
  void watch_expiries();
  void on_signal();
  void finish_after(std::chrono::milliseconds delay);
  void farewell_soon();
  void finish();

  Log& log_;
  std::string socket_path_;
  boost::asio::io_context context_{1};
  DataplaneLink link_;
  Gateway gateway_;
  ShellServer shell_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer timer_;  // the gateway's next deadline
  boost::asio::steady_timer reconnect_;
  boost::asio::steady_timer farewell_;
  boost::asio::steady_timer expiry_;
  Expiries expiries_;
  std::optional<Descriptor> wake_;  // borrowed from the link: released, never closed here
  std::optional<Descriptor> socket_;
  std::chrono::milliseconds back_off_{0};
  std::string last_why_;
  bool leaving_{false};
  bool farewell_near_{false};
};

}  // namespace espgate::control
