#include "channel/counters.hpp"

#include <sys/mman.h>

#include <optional>
#include <stdexcept>

#include "channel/memory.hpp"
#include "channel/region.hpp"
#include "channel/spi.hpp"

namespace espgate::channel {
namespace {

constexpr std::uint32_t kMostTunnels = 1U << 20;
constexpr std::uint32_t kMostGroups = 1U << 20;

// Where the arrays of a page of one shape lie. Both sides compute it; the control process compares.
struct PageLayout {
  std::uint64_t workers;
  std::uint64_t tunnels;
  std::uint64_t ports;
  std::uint64_t groups;
  std::uint64_t inbound;
  std::uint64_t outbound;
  std::uint64_t size;
};

bool is_possible(const Hello& shape) noexcept {
  return shape.workers >= 1 && shape.workers <= kMaxWorkers && shape.ports <= kMaxPorts &&
         shape.inbound_slots <= kMaxSpiSlots && shape.outbound_slots <= kMaxSpiSlots &&
         shape.max_tunnels <= kMostTunnels && shape.max_groups <= kMostGroups;
}

// For a possible shape: no sum overflows.
PageLayout layout_of(const Hello& shape) noexcept {
  const std::uint64_t workers = shape.workers;
  PageLayout layout{};
  layout.workers = sizeof(CountersHeader);
  layout.tunnels = layout.workers + workers * sizeof(WorkerCounters);
  layout.ports = layout.tunnels + shape.max_tunnels * sizeof(InterfaceCounters);
  layout.groups = layout.ports + shape.ports * sizeof(PortStatus);
  layout.inbound = layout.groups + shape.max_groups * sizeof(GroupStatus);
  layout.outbound = layout.inbound + workers * shape.inbound_slots * sizeof(SaStatus);
  layout.size = layout.outbound + workers * shape.outbound_slots * sizeof(SaStatus);
  return layout;
}

bool describes(const CountersHeader& header, const PageLayout& layout) noexcept {
  return header.size == layout.size && header.workers_offset == layout.workers &&
         header.tunnels_offset == layout.tunnels && header.ports_offset == layout.ports &&
         header.groups_offset == layout.groups && header.inbound_offset == layout.inbound &&
         header.outbound_offset == layout.outbound;
}

void fill_header(CountersHeader& header, const Hello& shape, const PageLayout& layout) noexcept {
  header.magic = kCountersMagic;
  header.size = layout.size;
  header.shape = shape;
  header.workers_offset = layout.workers;
  header.tunnels_offset = layout.tunnels;
  header.ports_offset = layout.ports;
  header.groups_offset = layout.groups;
  header.inbound_offset = layout.inbound;
  header.outbound_offset = layout.outbound;
}

// Element `index` of the array at `offset`. `Header` is const for the reader, and so is what it gets.
template <class T, class Header>
auto* element(Header* header, std::uint64_t offset, std::uint64_t index) noexcept {
  using Byte = std::conditional_t<std::is_const_v<Header>, const std::byte, std::byte>;
  using Element = std::conditional_t<std::is_const_v<Header>, const T, T>;
  return reinterpret_cast<Element*>(reinterpret_cast<Byte*>(header) + offset) + index;
}

}  // namespace

static_assert(Counter::is_always_lock_free, "a lock would not work between processes");

CountersPage::CountersPage(const Hello& shape) {
  if (!is_possible(shape))
    throw std::invalid_argument("the counters page can't hold so many workers, ports or SAs");
  const PageLayout layout = layout_of(shape);
  fd_ = make_memory("espgate-counters", layout.size);
  size_ = layout.size;
  header_ = static_cast<CountersHeader*>(map(fd_, size_, true));
  fill_header(*header_, shape, layout);
  try {
    seal(fd_, true);
  } catch (...) {
    munmap(header_, size_);
    throw;
  }
}

CountersPage::~CountersPage() { munmap(header_, size_); }

WorkerCounters& CountersPage::worker(std::uint32_t worker) noexcept {
  return *element<WorkerCounters>(header_, header_->workers_offset, worker);
}

InterfaceCounters* CountersPage::tunnels() noexcept {
  return element<InterfaceCounters>(header_, header_->tunnels_offset, 0);
}

PortStatus& CountersPage::port(std::uint32_t port) noexcept {
  return *element<PortStatus>(header_, header_->ports_offset, port);
}

GroupStatus& CountersPage::group(std::uint32_t group) noexcept {
  return *element<GroupStatus>(header_, header_->groups_offset, group);
}

SaStatus* CountersPage::inbound(std::uint32_t worker) noexcept {
  return element<SaStatus>(header_, header_->inbound_offset,
                           std::uint64_t{worker} * header_->shape.inbound_slots);
}

SaStatus* CountersPage::outbound(std::uint32_t worker) noexcept {
  return element<SaStatus>(header_, header_->outbound_offset,
                           std::uint64_t{worker} * header_->shape.outbound_slots);
}

CountersView::CountersView(Fd fd) {
  size_ = sealed_size(fd, "the dataplane's counters page");
  if (size_ < sizeof(CountersHeader)) throw std::runtime_error("the dataplane's counters page is too short");
  header_ = static_cast<const CountersHeader*>(map(fd, size_, false));
  shape_ = header_->shape;
  const bool ours = header_->magic == kCountersMagic && is_possible(shape_) &&
                    layout_of(shape_).size == size_ && describes(*header_, layout_of(shape_));
  if (ours) return;
  munmap(const_cast<CountersHeader*>(header_), size_);
  throw std::runtime_error("the dataplane's counters page has another form than this build's");
}

CountersView::~CountersView() { munmap(const_cast<CountersHeader*>(header_), size_); }

const WorkerCounters& CountersView::worker(std::uint32_t worker) const noexcept {
  return *element<WorkerCounters>(header_, layout_of(shape_).workers, worker);
}

const InterfaceCounters* CountersView::tunnels() const noexcept {
  return element<InterfaceCounters>(header_, layout_of(shape_).tunnels, 0);
}

const PortStatus& CountersView::port(std::uint32_t port) const noexcept {
  return *element<PortStatus>(header_, layout_of(shape_).ports, port);
}

const GroupStatus& CountersView::group(std::uint32_t group) const noexcept {
  return *element<GroupStatus>(header_, layout_of(shape_).groups, group);
}

const SaStatus* CountersView::inbound(std::uint32_t worker) const noexcept {
  return element<SaStatus>(header_, layout_of(shape_).inbound, std::uint64_t{worker} * shape_.inbound_slots);
}

const SaStatus* CountersView::outbound(std::uint32_t worker) const noexcept {
  return element<SaStatus>(header_, layout_of(shape_).outbound,
                           std::uint64_t{worker} * shape_.outbound_slots);
}

}  // namespace espgate::channel
