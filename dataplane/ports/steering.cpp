#include "dataplane/ports/steering.hpp"

#include <rte_errno.h>
#include <rte_flow.h>

#include <utility>

#include "channel/spi.hpp"
#include "dataplane/log.hpp"
#include "dataplane/path/wire.hpp"

namespace espgate::dataplane {

namespace {

// The SPI's bits that name the worker, as they stand in a packet.
rte_be32_t worker_bits(std::uint32_t worker) noexcept {
  return __builtin_bswap32(channel::make_spi(worker, 0, 0));
}

rte_flow_item item(rte_flow_item_type type, const void* spec = nullptr, const void* mask = nullptr) noexcept {
  return {.type = type, .spec = spec, .last = nullptr, .mask = mask};
}

// Drivers need not give a message, but set rte_errno.
const char* words_of(const rte_flow_error& error) noexcept {
  return error.message != nullptr ? error.message : rte_strerror(rte_errno);
}

}  // namespace

Steering::Steering(std::string port, std::uint16_t ethdev, std::span<const std::uint32_t> workers)
    : port_(std::move(port)),
      ethdev_(ethdev),
      queues_(workers.size()),
      esp_(install(Encapsulation::none, workers)),
      esp_in_udp_(install(Encapsulation::udp, workers)) {}

Steering::~Steering() { remove_after(0); }

// All or none: rules for some workers only would take their place in the card's table and leave the others'
// packets to chance. And a driver that overlooks the mask may refuse the second rule as a duplicate; then the
// first, which brings all ESP to one worker, has to go.
bool Steering::install(Encapsulation encapsulation, std::span<const std::uint32_t> workers) {
  const std::size_t before = rules_.size();
  rules_.reserve(before + workers.size());
  for (std::uint16_t queue = 0; queue < workers.size(); queue++) {
    rte_flow_error error{};
    rte_flow* const rule = create(encapsulation, workers[queue], queue, error);
    if (rule != nullptr) {
      rules_.push_back(rule);
      continue;
    }
    if (refusal_.empty()) refusal_ = words_of(error);
    remove_after(before);
    return false;
  }
  return true;
}

// IKE on port 4500 has four bytes of zero where ESP has its SPI, and so goes where worker 0's ESP goes. That
// is as good as any: every worker gives IKE to the main thread.
rte_flow* Steering::create(Encapsulation encapsulation, std::uint32_t worker, std::uint16_t queue,
                           rte_flow_error& error) const {
  rte_flow_attr attributes{};
  attributes.ingress = 1;
  rte_flow_item_udp to_port{};
  to_port.hdr.dst_port = __builtin_bswap16(kNatTraversalPort);
  rte_flow_item_udp port_mask{};
  port_mask.hdr.dst_port = 0xffff;
  rte_flow_item_esp of_worker{};
  of_worker.hdr.spi = worker_bits(worker);
  rte_flow_item_esp worker_mask{};
  worker_mask.hdr.spi = worker_bits(channel::kMaxSpiWorkers - 1);
  std::vector<rte_flow_item> pattern{item(RTE_FLOW_ITEM_TYPE_ETH), item(RTE_FLOW_ITEM_TYPE_IPV4)};
  if (encapsulation == Encapsulation::udp)
    pattern.push_back(item(RTE_FLOW_ITEM_TYPE_UDP, &to_port, &port_mask));
  pattern.push_back(item(RTE_FLOW_ITEM_TYPE_ESP, &of_worker, &worker_mask));
  pattern.push_back(item(RTE_FLOW_ITEM_TYPE_END));
  const rte_flow_action_queue target{.index = queue};
  const rte_flow_action actions[] = {{.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &target},
                                     {.type = RTE_FLOW_ACTION_TYPE_END, .conf = nullptr}};
  if (rte_flow_validate(ethdev_, &attributes, pattern.data(), actions, &error) != 0) return nullptr;
  return rte_flow_create(ethdev_, &attributes, pattern.data(), actions, &error);
}

// The last first, as rte_flow wants it.
void Steering::remove_after(std::size_t kept) {
  for (; rules_.size() > kept; rules_.pop_back()) {
    rte_flow_error error{};
    if (rte_flow_destroy(ethdev_, rules_.back(), &error) != 0)
      log_line("port {}: the card kept a flow rule: {}", port_, words_of(error));
  }
}

std::string Steering::describe(bool hashes_spi) const {
  if (esp_ && esp_in_udp_) return "the card steers ESP and ESP in UDP to their workers";
  if (esp_) return fmt::format("the card steers ESP to its worker, but not ESP in UDP: {}", refusal_);
  if (esp_in_udp_) return fmt::format("the card steers ESP in UDP to its worker, but not ESP: {}", refusal_);
  if (hashes_spi)
    return fmt::format(
        "the card spreads ESP over {} queues by SPI (RSS), but can't steer it: {}; workers hand over",
        queues_, refusal_);
  return fmt::format("the card can't steer ESP by SPI: {}; workers hand over", refusal_);
}

}  // namespace espgate::dataplane
