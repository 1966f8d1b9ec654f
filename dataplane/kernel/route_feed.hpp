// The kernel's routes as they change, told by rtnetlink: all of them first, then each change. When the kernel
// had to leave something out (overrun), or takes routes away without a word (an interface goes down), all of
// them are told anew. Main thread only; never waits.
#pragma once

#include <cstdint>
#include <functional>

#include "dataplane/kernel/route_message.hpp"

struct nl_sock;

namespace espgate::dataplane {

class RouteFeed {
 public:
  // A whole telling lies between `begin` and `end`: what was told before `begin` and not between them is
  // gone.
  enum class Word : std::uint8_t { begin, set, append, remove, end };
  using Take = std::function<void(Word word, const KernelRoute& route)>;

  // In the network namespace of the thread that makes it. Throws std::runtime_error.
  RouteFeed();
  ~RouteFeed();
  RouteFeed(const RouteFeed&) = delete;
  RouteFeed& operator=(const RouteFeed&) = delete;

  // Gives `take` what has come, for about `budget` ns. True: more waits.
  [[nodiscard]] bool serve(std::uint64_t now, std::uint64_t budget, const Take& take);
  // All is to be told anew; not more often than every kPause.
  void tell_all() noexcept { wanted_ = true; }
  // Readable when there is something to serve.
  [[nodiscard]] int wake_fd() const noexcept;

  [[nodiscard]] std::uint64_t overruns() const noexcept { return overruns_; }

 private:
  static constexpr std::uint64_t kPause = 50'000'000;  // ns
  // What of the kernel's messages is told now, and what comes then.
  enum class Stage : std::uint8_t { changes, all4, all6 };

  void ask(int family);
  [[nodiscard]] bool read(nl_sock* socket, const Take& take);
  void handle(struct nlmsghdr& message, const Take& take);
  void next_stage(const Take& take);

  nl_sock* changes_;  // notifications
  nl_sock* answers_;  // to requests for all
  Stage stage_{Stage::changes};
  bool wanted_{true};
  bool objects_{false};      // some routes are by next-hop objects
  bool stale_{false};        // after an overrun: what waits is older than what is missing
  bool interrupted_{false};  // the routes changed while they were told
  std::uint64_t begun_ns_{0};
  std::uint64_t overruns_{0};
};

}  // namespace espgate::dataplane
