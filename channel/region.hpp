// The shared region: four rings in one sealed memfd, and the counters page in another, handed over with one
// end of a socket pair (the wakes) on a Unix socket. The dataplane makes a new region for each control
// process that attaches, so nothing that a former one wrote lives on.
//
// Wakes are bytes on a socket pair rather than eventfds: both sides would share an eventfd's file
// description, and a hostile peer that fills it and clears its O_NONBLOCK flag would block the dataplane's
// main thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "channel/counters.hpp"
#include "channel/messages.hpp"
#include "channel/ring.hpp"

namespace espgate::channel {

inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::uint32_t kCommandSlots = 1024;
inline constexpr std::uint32_t kEventSlots = 4096;
inline constexpr std::uint32_t kIkeSlots = 512;

struct RegionMemory {
  std::uint64_t
      magic;  // the first three keep their places in every version: they are what tells versions apart
  std::uint32_t version;
  std::uint32_t reserved;
  std::uint64_t layout;  // kLayoutHash of the side that made it
  Hello hello;
  RingMemory<Command, kCommandSlots> commands;
  RingMemory<Event, kEventSlots> events;
  RingMemory<IkeDatagram, kIkeSlots> ike_received;
  RingMemory<IkeDatagram, kIkeSlots> ike_to_send;
};
inline constexpr std::uint64_t kRegionMagic = 0x314e474552505345;  // "ESPREGN1"

// Sizes and offsets of everything above folded into one number: two builds that disagree refuse each other.
extern const std::uint64_t kLayoutHash;

using CommandProducer = Producer<Command, kCommandSlots>;
using CommandConsumer = Consumer<Command, kCommandSlots>;
using EventProducer = Producer<Event, kEventSlots>;
using EventConsumer = Consumer<Event, kEventSlots>;
using IkeProducer = Producer<IkeDatagram, kIkeSlots>;
using IkeConsumer = Consumer<IkeDatagram, kIkeSlots>;

// A file descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] int release() noexcept {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_{-1};
};

// Lets this process have as many descriptors as it is allowed at most: each twin in the kernel takes some.
void allow_many_descriptors() noexcept;

// The dataplane's counters page, for the life of the dataplane.
class CountersPage {
 public:
  // Makes and maps the page for `shape`, all zero. Throws std::invalid_argument for a shape beyond the
  // limits, std::system_error.
  explicit CountersPage(const Hello& shape);
  ~CountersPage();
  CountersPage(const CountersPage&) = delete;
  CountersPage& operator=(const CountersPage&) = delete;

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] CountersHeader& header() noexcept { return *header_; }
  [[nodiscard]] WorkerCounters& worker(std::uint32_t worker) noexcept;
  [[nodiscard]] InterfaceCounters* tunnels() noexcept;  // [max_tunnels]
  [[nodiscard]] PortStatus& port(std::uint32_t port) noexcept;
  [[nodiscard]] GroupStatus& group(std::uint32_t group) noexcept;
  [[nodiscard]] SaStatus* inbound(std::uint32_t worker) noexcept;   // [inbound_slots]
  [[nodiscard]] SaStatus* outbound(std::uint32_t worker) noexcept;  // [outbound_slots]

 private:
  Fd fd_;
  std::uint64_t size_{0};
  CountersHeader* header_{nullptr};
};

// The same page as the control process sees it: read-only, its shape, size and offsets checked once.
class CountersView {
 public:
  // Takes over `fd`, which is closed once the page is mapped. Throws std::runtime_error with words if the
  // page is not one of ours.
  explicit CountersView(Fd fd);
  ~CountersView();
  CountersView(const CountersView&) = delete;
  CountersView& operator=(const CountersView&) = delete;

  [[nodiscard]] const CountersHeader& header() const noexcept { return *header_; }
  [[nodiscard]] const Hello& shape() const noexcept { return shape_; }  // a checked copy
  [[nodiscard]] const WorkerCounters& worker(std::uint32_t worker) const noexcept;
  [[nodiscard]] const InterfaceCounters* tunnels() const noexcept;
  [[nodiscard]] const PortStatus& port(std::uint32_t port) const noexcept;
  [[nodiscard]] const GroupStatus& group(std::uint32_t group) const noexcept;
  [[nodiscard]] const SaStatus* inbound(std::uint32_t worker) const noexcept;
  [[nodiscard]] const SaStatus* outbound(std::uint32_t worker) const noexcept;

 private:
  const CountersHeader* header_{nullptr};
  std::uint64_t size_{0};
  Hello shape_{};
};

// The dataplane's end of one attachment: consumes commands and IKE to send, produces events and received IKE.
// All calls from the dataplane's main thread.
class DataplaneEnd {
 public:
  // Makes a sealed region and its wakes. Throws std::system_error.
  explicit DataplaneEnd(const Hello& hello);
  ~DataplaneEnd();
  DataplaneEnd(const DataplaneEnd&) = delete;
  DataplaneEnd& operator=(const DataplaneEnd&) = delete;

  // Sends region, counters page and the other end of the wakes over the connected Unix socket, once. Never
  // blocks. False: the peer is gone.
  [[nodiscard]] bool hand_over(int socket, const CountersPage& counters) noexcept;

  [[nodiscard]] RingStatus next_command(Command& command) noexcept { return commands_->pop(command); }
  [[nodiscard]] RingStatus next_ike(IkeDatagram& datagram) noexcept { return ike_to_send_->pop(datagram); }
  [[nodiscard]] std::uint32_t waiting_ike() const noexcept;  // published by the peer; checked by next_ike
  [[nodiscard]] RingStatus tell(const Event& event) noexcept { return events_->push(event); }
  [[nodiscard]] RingStatus deliver(const IkeDatagram& datagram) noexcept {
    return ike_received_->push(datagram);
  }
  [[nodiscard]] std::uint32_t undelivered_ike() const noexcept {
    return ike_received_->unread();
  }                              // 0..kIkeSlots
  void wake_control() noexcept;  // once after a batch of tell/deliver; never blocks
  [[nodiscard]] int wake_fd() const noexcept {
    return wake_.get();
  }                            // readable after control's wake, or when it died
  void clear_wake() noexcept;  // before the rings are read, so that no wake is lost; never blocks

 private:
  Fd region_fd_;
  RegionMemory* memory_{nullptr};
  Fd wake_;
  Fd peer_wake_;  // the control process's end, until it is handed over
  std::unique_ptr<CommandConsumer> commands_;
  std::unique_ptr<EventProducer> events_;
  std::unique_ptr<IkeProducer> ike_received_;
  std::unique_ptr<IkeConsumer> ike_to_send_;
};

// The control process's end. All calls from one thread.
class ControlEnd {
 public:
  // Receives a region over the connected Unix socket (blocking, with the socket's own timeout), checks seals,
  // sizes, version and layout, and maps it. Throws std::runtime_error with words for the operator.
  explicit ControlEnd(int socket);
  ~ControlEnd();
  ControlEnd(const ControlEnd&) = delete;
  ControlEnd& operator=(const ControlEnd&) = delete;

  [[nodiscard]] const Hello& hello() const noexcept { return hello_; }
  [[nodiscard]] const CountersView& counters() const noexcept { return *counters_; }
  [[nodiscard]] RingStatus command(const Command& command) noexcept { return commands_->push(command); }
  [[nodiscard]] RingStatus send_ike(const IkeDatagram& datagram) noexcept {
    return ike_to_send_->push(datagram);
  }
  [[nodiscard]] RingStatus next_event(Event& event) noexcept { return events_->pop(event); }
  [[nodiscard]] RingStatus next_ike(IkeDatagram& datagram) noexcept { return ike_received_->pop(datagram); }
  void wake_dataplane() noexcept;  // once after a batch of command/send_ike; never blocks
  [[nodiscard]] int wake_fd() const noexcept { return wake_.get(); }  // readable after the dataplane's wake
  void clear_wake() noexcept;  // before the rings are read, so that no wake is lost; never blocks

 private:
  RegionMemory* memory_{nullptr};
  Fd wake_;
  Hello hello_{};
  std::unique_ptr<CountersView> counters_;
  std::unique_ptr<CommandProducer> commands_;
  std::unique_ptr<EventConsumer> events_;
  std::unique_ptr<IkeConsumer> ike_received_;
  std::unique_ptr<IkeProducer> ike_to_send_;
};

// stream: bytes (SOCK_STREAM); messages: whole or not at all (SOCK_SEQPACKET).
enum class SocketKind : std::uint8_t { stream, messages };
// A listening Unix socket at `path` (of this mode, non-blocking; a dead one's file is replaced, a live
// one or any other kind of file is an error), and a blocking connection to one. Throw std::system_error.
[[nodiscard]] Fd listen_at(const std::string& path, SocketKind kind = SocketKind::stream,
                           unsigned mode = 0600);
[[nodiscard]] Fd connect_to(const std::string& path, SocketKind kind = SocketKind::stream);

}  // namespace espgate::channel
