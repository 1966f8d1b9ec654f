// The kernel's routes as they change, told by rtnetlink: all of them first, then each change. When the kernel
// had to leave something out (overrun), or takes routes away without a word (an interface goes down), all of
// them are told anew. Main thread only; never waits.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "dataplane/kernel/route_message.hpp"
#include "dataplane/kernel/space.hpp"

struct nl_sock;

namespace espgate::dataplane {

class RouteFeed {
 public:
  // A whole telling lies between `begin` and `end`: what was told before `begin` and not between them is
  // gone. Changes are told as they are in the kernel's order of those with one destination and metric: `only`
  // is the first of them, `replace` is instead of one, `prepend` before and `append` behind all.
  enum class Word : std::uint8_t { begin, told, end, only, replace, prepend, append, remove };
  using Take = std::function<void(Word word, const KernelRoute& route)>;
  // What happens to interfaces and may have taken routes by them: set down or up, or an IPv4 address gone.
  // `missed`: anything, to any of them (interface 0).
  enum class Link : std::uint8_t { down, up, address_gone, missed };
  using TakeLink = std::function<void(Link what, int interface)>;

  // Of the routes in `space`, which must outlive this. `serve` calls `take_link`. Throws std::runtime_error.
  RouteFeed(const Space& space, TakeLink take_link);

  // Gives `take` what has come, for about `budget` ns. True: more waits.
  [[nodiscard]] bool serve(std::uint64_t now, std::uint64_t budget, const Take& take);
  // All is to be told anew: when no change waits, and not before kPause is over since it was told last.
  void tell_all() noexcept { wanted_ = true; }
  // False: what is told now may be older than what was told of all.
  [[nodiscard]] bool caught_up() const noexcept { return caught_up_; }
  // Readable when there is something to serve.
  [[nodiscard]] int wake_fd() const noexcept;

  [[nodiscard]] std::uint64_t overruns() const noexcept { return overruns_; }

 private:
  static constexpr std::uint64_t kPause = 50'000'000;     // ns
  static constexpr std::uint64_t kRetry = 1'000'000'000;  // ns; after the kernel has failed to tell all
  // What of the kernel's messages is told now, and what comes then.
  enum class Stage : std::uint8_t { changes, all4, all6 };

  struct Close {
    void operator()(nl_sock* socket) const noexcept;
  };
  using Socket = std::unique_ptr<nl_sock, Close>;
  [[nodiscard]] Socket open() const;
  void begin(const Take& take);
  void ask(int family);
  [[nodiscard]] bool read(nl_sock* socket, const Take& take);
  void handle(struct nlmsghdr& message, const Take& take);
  void tell_link(struct nlmsghdr& message) const;
  void tell_address(struct nlmsghdr& message) const;
  void next_stage(const Take& take);
  void fail(const char* why);
  void leave_off(std::uint64_t pause) noexcept;

  const Space& space_;
  TakeLink take_link_;
  Socket changes_;  // notifications
  Socket answers_;  // to requests for all; of each telling its own, so that nothing of a failed one is left
  Stage stage_{Stage::changes};
  bool wanted_{true};
  bool objects_{false};      // some routes are by next-hop objects
  bool stale_{false};        // after an overrun: what waits is older than what is missing
  bool interrupted_{false};  // the routes changed while they were told
  bool caught_up_{false};
  bool failing_{false};  // so did the last telling
  std::uint64_t now_{0};
  std::uint64_t next_ns_{0};  // the next telling begins not before
  std::uint64_t overruns_{0};
};

}  // namespace espgate::dataplane
