#include "channel/region.hpp"

#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "channel/hand_over.hpp"
#include "channel/memory.hpp"

namespace espgate::channel {
namespace {

// Keys pass through here: they must not reach a core dump, nor (as far as the limit on locked memory goes)
// the swap.
RegionMemory* map_region(const Fd& fd) {
  auto* memory = static_cast<RegionMemory*>(map(fd, sizeof(RegionMemory), true));
  madvise(memory, sizeof(RegionMemory), MADV_DONTDUMP);
  mlock(&memory->commands, sizeof(memory->commands));
  return memory;
}

// A full socket means that the other side has wakes waiting already.
void wake(const Fd& socket) noexcept { (void)send(socket.get(), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL); }

// A bounded number of reads: a peer that keeps on writing can't keep us here. What is left wakes us once
// more.
void drain(const Fd& socket) noexcept {
  char bytes[256];
  for (int reads = 0; reads < 16; ++reads)
    if (recv(socket.get(), bytes, sizeof(bytes), MSG_DONTWAIT) < static_cast<ssize_t>(sizeof(bytes))) return;
}

void check_header(const RegionMemory& memory, std::uint64_t size) {
  if (memory.magic != kRegionMagic) throw std::runtime_error("what answered is not an espgate dataplane");
  const std::uint32_t version = memory.version;
  if (version != kVersion)
    throw std::runtime_error("the dataplane speaks channel version " + std::to_string(version) +
                             ", this control process version " + std::to_string(kVersion) +
                             ": they are not of one build");
  if (memory.layout != kLayoutHash || size != sizeof(RegionMemory))
    throw std::runtime_error(
        "the dataplane lays out its messages otherwise than this control process: "
        "they are not of one build");
}

// The header alone is mapped first: a region of another version may have any size.
void check_region(const Fd& fd) {
  const std::uint64_t size = sealed_size(fd, "the dataplane's region");
  constexpr std::uint64_t kHeader = offsetof(RegionMemory, hello);
  if (size < kHeader) throw std::runtime_error("the dataplane's region is too short");
  void* header = map(fd, kHeader, false);
  try {
    check_header(*static_cast<const RegionMemory*>(header), size);
  } catch (...) {
    munmap(header, kHeader);
    throw;
  }
  munmap(header, kHeader);
}

}  // namespace

DataplaneEnd::DataplaneEnd(const Hello& hello)
    : region_fd_(make_memory("espgate-region", sizeof(RegionMemory))) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
    throw std::system_error(errno, std::system_category(), "socketpair");
  wake_ = Fd(pair[0]);
  peer_wake_ = Fd(pair[1]);
  seal(region_fd_, false);
  memory_ = map_region(region_fd_);
  memory_->magic = kRegionMagic;
  memory_->version = kVersion;
  memory_->layout = kLayoutHash;
  memory_->hello = hello;
  commands_ = std::make_unique<CommandConsumer>(memory_->commands);
  events_ = std::make_unique<EventProducer>(memory_->events);
  ike_received_ = std::make_unique<IkeProducer>(memory_->ike_received);
  ike_to_send_ = std::make_unique<IkeConsumer>(memory_->ike_to_send);
}

DataplaneEnd::~DataplaneEnd() {
  explicit_bzero(&memory_->commands, sizeof(memory_->commands));  // commands that were never read carry keys
  munmap(memory_, sizeof(RegionMemory));
}

bool DataplaneEnd::hand_over(int socket, const CountersPage& counters) noexcept {
  const bool sent = send_descriptors(socket, {region_fd_.get(), counters.fd(), peer_wake_.get()});
  peer_wake_ = Fd();  // held by the peer alone, so that its death shows on our end
  return sent;
}

std::uint32_t DataplaneEnd::waiting_ike() const noexcept { return ike_to_send_->waiting(); }
void DataplaneEnd::wake_control() noexcept { wake(wake_); }
void DataplaneEnd::clear_wake() noexcept { drain(wake_); }

ControlEnd::ControlEnd(int socket) {
  Descriptors received = receive_descriptors(socket);
  check_region(received[0]);
  counters_ = std::make_unique<CountersView>(std::move(received[1]));
  wake_ = std::move(received[2]);
  memory_ = map_region(received[0]);
  hello_ = memory_->hello;
  if (hello_ != counters_->shape()) {
    munmap(memory_, sizeof(RegionMemory));
    throw std::runtime_error("the dataplane's region and its counters page are not of one shape");
  }
  commands_ = std::make_unique<CommandProducer>(memory_->commands);
  events_ = std::make_unique<EventConsumer>(memory_->events);
  ike_received_ = std::make_unique<IkeConsumer>(memory_->ike_received);
  ike_to_send_ = std::make_unique<IkeProducer>(memory_->ike_to_send);
}

ControlEnd::~ControlEnd() { munmap(memory_, sizeof(RegionMemory)); }

void ControlEnd::wake_dataplane() noexcept { wake(wake_); }
void ControlEnd::clear_wake() noexcept { drain(wake_); }

}  // namespace espgate::channel
