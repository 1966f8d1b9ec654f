// The control process's place: the socket at which one attaches, its rings, and what waits to be told. At
// most one is attached; when it goes, forwarding goes on. Main thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "channel/region.hpp"
#include "dataplane/control_link.hpp"

namespace espgate::dataplane {

class Attachment final : public ControlLink {
 public:
  // Listens at `path`. `page` must outlive this. Throws std::system_error.
  Attachment(const std::string& path, const channel::Hello& hello, channel::CountersPage& page);
  ~Attachment() override;
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

  // Whatever can be read from this descriptor ends the sleep, too. It must be open as long as this. Throws
  // std::system_error.
  void watch_too(int fd);

  // Sleeps up to `timeout_ms` or until the control process calls, comes or goes; attaches and detaches.
  void wait(int timeout_ms);

  void tell(const channel::Event& event) override;
  [[nodiscard]] bool deliver(const channel::IkeDatagram& datagram) override;
  [[nodiscard]] std::uint32_t undelivered() const override;

  // Commands and IKE datagrams from the control process; false: none, or nobody is attached. A broken ring
  // ends the attachment.
  [[nodiscard]] bool next_command(channel::Command& command);
  [[nodiscard]] bool next_ike(channel::IkeDatagram& datagram);
  [[nodiscard]] std::uint32_t waiting_ike() const noexcept;

  // Events that found the ring full. While there are any, no further commands should be applied.
  [[nodiscard]] bool backlogged() const noexcept { return !backlog_.empty(); }
  // Moves the backlog into the ring and wakes the control process if there is anything new for it.
  void flush();
  [[nodiscard]] bool attached() const noexcept { return end_ != nullptr; }
  // How many control processes have attached so far.
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  // Has the control process keep a descriptor open. False: not now.
  [[nodiscard]] bool entrust(const std::string& name, int fd) const noexcept;

 private:
  // Answers to commands are bounded by the ring and by list_sas; what comes on its own stops here.
  static constexpr std::size_t kBacklog = 262144;

  void accept_one();
  void attach(channel::Fd socket);
  void detach(const char* why);
  [[nodiscard]] bool peer_is_gone() const noexcept;
  [[nodiscard]] bool watch(int fd, bool edge) noexcept;
  void lose_event();

  std::string path_;
  channel::Hello hello_;
  channel::CountersPage& page_;
  channel::Fd epoll_;
  channel::Fd listener_;
  channel::Fd socket_;
  std::unique_ptr<channel::DataplaneEnd> end_;
  std::deque<channel::Event> backlog_;
  std::uint64_t count_{0};
  bool news_{false};
};

}  // namespace espgate::dataplane
