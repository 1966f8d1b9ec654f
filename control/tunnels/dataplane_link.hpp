// Our end of the channel to the dataplane: commands out and their answers in, events, IKE datagrams both
// ways. Keeps the order between commands and IKE datagrams even when a ring is full. No waiting; one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <variant>

#include "channel/messages.hpp"
#include "channel/region.hpp"

namespace espgate::control {

// What is kept of a command until its answer comes: enough for words, and no keys.
struct CommandSubject {
  std::uint64_t sequence{0};
  channel::CommandKind kind{};
  std::uint32_t index{0};  // of the tunnel or group
  std::uint32_t spi{0};
  std::uint32_t partner_spi{0};
  IpPrefix destination;  // of a route
  TableId table{kMainTable};
};

class DataplaneLink {
 public:
  static constexpr std::size_t kMaxWaiting = 4096;    // commands and datagrams that found a ring full
  static constexpr std::size_t kMaxKept = 131072;     // interfaces of the kernel
  static constexpr std::size_t kMaxWaitingIke = 256;  // of them datagrams: IKE retransmits, SAs do not

  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void command_done(const CommandSubject& subject, channel::CommandStatus status) = 0;
    // Every kind but command_done. Nothing in it has been checked.
    virtual void event(const channel::Event& event) = 0;
  };

  // Takes what the dataplane hands over on `socket`. Throws std::runtime_error with words; then nothing
  // changed.
  void attach(channel::Fd socket);
  void detach() noexcept;
  // Takes what the dataplane gives us to keep open: its interfaces in the kernel, which so outlive it. What
  // was kept of a name before goes. Throws std::runtime_error with words when the dataplane is gone.
  void take_keepsakes();
  [[nodiscard]] bool attached() const noexcept { return end_ != nullptr; }
  // Empty while all is well; else why the channel can't be used any more and ought to be detached.
  [[nodiscard]] const std::string& broken() const noexcept { return broken_; }

  // Only while attached.
  [[nodiscard]] const channel::Hello& hello() const noexcept { return end_->hello(); }
  [[nodiscard]] const channel::CountersView& counters() const noexcept { return end_->counters(); }
  [[nodiscard]] int wake_fd() const noexcept { return end_->wake_fd(); }
  [[nodiscard]] int socket_fd() const noexcept { return socket_.get(); }

  // Sends `command` after all before it, now or when the ring has room, and erases it (it may hold keys).
  // Lost, and erased, while not attached.
  void submit(channel::Command& command);
  // The same, but false (and not sent) when it would have to wait.
  [[nodiscard]] bool try_submit(channel::Command& command);
  // After the commands submitted so far. Lost while not attached, or when too many wait.
  void send(const channel::IkeDatagram& datagram);

  // Carries on with what waits and wakes the dataplane if there is anything new for it.
  void flush();
  void poll_events(Listener& listener);
  [[nodiscard]] bool next_ike(channel::IkeDatagram& datagram);
  // Something found its ring full: flush() wants to be called again shortly.
  [[nodiscard]] bool waiting() const noexcept { return !waiting_.empty(); }
  // Every command has been answered.
  [[nodiscard]] bool settled() const noexcept { return waiting_.empty() && unanswered_.empty(); }

 private:
  // A command that erases itself.
  struct WaitingCommand {
    channel::Command command;
    explicit WaitingCommand(const channel::Command& from) : command(from) {}
    ~WaitingCommand() { explicit_bzero(&command, sizeof command); }
    WaitingCommand(const WaitingCommand&) = delete;
    WaitingCommand& operator=(const WaitingCommand&) = delete;
  };
  using Waiting = std::variant<std::unique_ptr<WaitingCommand>, std::unique_ptr<channel::IkeDatagram>>;

  channel::RingStatus push(const Waiting& item) noexcept;
  void note(channel::RingStatus status) noexcept;
  void remember(channel::Command& command);
  void answered(const channel::CommandDone& done, Listener& listener);

  channel::Fd socket_;
  std::map<std::string, channel::Fd> kept_;  // also while no dataplane is there
  std::unique_ptr<channel::ControlEnd> end_;
  std::deque<Waiting> waiting_;
  std::size_t waiting_ike_{0};
  std::deque<CommandSubject> unanswered_;
  std::uint64_t sequence_{0};
  bool wake_{false};
  std::string broken_;
};

// All zero but for its kind.
[[nodiscard]] channel::Command make_command(channel::CommandKind kind) noexcept;
[[nodiscard]] CommandSubject subject_of(const channel::Command& command) noexcept;

}  // namespace espgate::control
