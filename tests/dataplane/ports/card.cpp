#include "tests/dataplane/ports/card.hpp"

#include <rte_errno.h>
#include <rte_ethdev.h>

#include <algorithm>
#include <stdexcept>

namespace espgate::test {

namespace {

Card* the_card = nullptr;

// Bytes of a header that its item speaks of; 0: the card does not know it.
std::size_t length_of(rte_flow_item_type type) {
  switch (type) {
    case RTE_FLOW_ITEM_TYPE_ETH:
      return 14;
    case RTE_FLOW_ITEM_TYPE_IPV4:
      return 20;
    case RTE_FLOW_ITEM_TYPE_UDP:
    case RTE_FLOW_ITEM_TYPE_ESP:
      return 8;
    default:
      return 0;
  }
}

Octets bytes_of(const void* item, std::size_t length) {
  if (item == nullptr) return {};
  const auto* const first = static_cast<const std::uint8_t*>(item);
  return {first, first + length};
}

std::vector<rte_flow::Header> headers_of(const rte_flow_item* pattern) {
  std::vector<rte_flow::Header> headers;
  for (; pattern->type != RTE_FLOW_ITEM_TYPE_END; ++pattern) {
    const std::size_t length = length_of(pattern->type);
    if (pattern->last != nullptr || (pattern->spec == nullptr) != (pattern->mask == nullptr))
      throw std::logic_error("a range, or a specification without a mask");
    headers.push_back({pattern->type, bytes_of(pattern->spec, length), bytes_of(pattern->mask, length)});
  }
  return headers;
}

struct Layer {
  rte_flow_item_type type;
  Octets bytes;
};

// As a card's parser sees a frame: from the outside in, up to what it does not know. Fragments end at their
// IP header.
std::vector<Layer> parse(const Octets& frame) {
  std::vector<Layer> layers;
  const auto add = [&](rte_flow_item_type type, std::size_t at) {
    if (frame.size() < at + length_of(type)) return false;
    layers.push_back({type, slice(frame, at, length_of(type))});
    return true;
  };
  if (!add(RTE_FLOW_ITEM_TYPE_ETH, 0) || get16(frame, 12) != 0x0800) return layers;
  if (!add(RTE_FLOW_ITEM_TYPE_IPV4, 14) || (get16(frame, 20) & 0x3fff) != 0) return layers;
  const std::size_t payload = 14 + (frame[14] & 15U) * 4;
  if (frame[23] == 50) add(RTE_FLOW_ITEM_TYPE_ESP, payload);
  if (frame[23] == 17 && add(RTE_FLOW_ITEM_TYPE_UDP, payload) && get16(frame, payload + 2) == 4500)
    add(RTE_FLOW_ITEM_TYPE_ESP, payload + 8);
  return layers;
}

bool matches(const rte_flow::Header& header, const Layer& layer) {
  if (header.type != layer.type) return false;
  for (std::size_t i = 0; i < header.spec.size(); ++i)
    if (((header.spec[i] ^ layer.bytes[i]) & header.mask[i]) != 0) return false;
  return true;
}

bool matches(const rte_flow& rule, const std::vector<Layer>& layers) {
  return rule.headers.size() <= layers.size() &&
         std::equal(
             rule.headers.begin(), rule.headers.end(), layers.begin(),
             [](const rte_flow::Header& header, const Layer& layer) { return matches(header, layer); });
}

}  // namespace

Card::Card() { the_card = this; }
Card::~Card() { the_card = nullptr; }

int Card::refuse(int why, const char* words, rte_flow_error* error) const {
  rte_errno = why;
  if (talks) *error = {RTE_FLOW_ERROR_TYPE_UNSPECIFIED, nullptr, words};
  return -why;
}

int Card::validate(const rte_flow_attr& attributes, const rte_flow_item* pattern,
                   const rte_flow_action* actions, rte_flow_error* error) {
  if (++calls_ == fail_at) return refuse(EIO, "failed on demand", error);
  if (attributes.ingress != 1 || attributes.egress != 0 || attributes.transfer != 0 ||
      actions[0].type != RTE_FLOW_ACTION_TYPE_QUEUE || actions[1].type != RTE_FLOW_ACTION_TYPE_END)
    throw std::logic_error("a rule that is not from the wire to a queue");
  bool udp = false;
  for (const rte_flow::Header& header : headers_of(pattern)) {
    udp = udp || header.type == RTE_FLOW_ITEM_TYPE_UDP;
    if (header.type != RTE_FLOW_ITEM_TYPE_ESP) continue;
    if (udp ? !esp_in_udp : !esp) return refuse(ENOTSUP, "unknown item", error);
    if (!masks_of_spi && get32(header.mask, 0) != 0xffffffff)
      return refuse(ENOTSUP, "whole SPIs only", error);
  }
  return 0;
}

rte_flow* Card::create(std::uint16_t port, const rte_flow_attr& attributes, const rte_flow_item* pattern,
                       const rte_flow_action* actions, rte_flow_error* error) {
  if (validate(attributes, pattern, actions, error) != 0) return nullptr;
  if (rules_.size() >= capacity) {
    refuse(ENOMEM, "table full", error);
    return nullptr;
  }
  on_change(port);
  const auto* const target = static_cast<const rte_flow_action_queue*>(actions[0].conf);
  rules_.push_back(std::make_unique<rte_flow>(rte_flow{port, headers_of(pattern), target->index}));
  return rules_.back().get();
}

// DPDK promises success only in the reverse order of creation.
int Card::destroy(std::uint16_t port, const rte_flow* rule, rte_flow_error* error) {
  if (!destroys) return refuse(EBUSY, "will not go", error);
  const auto last =
      std::find_if(rules_.rbegin(), rules_.rend(), [port](const auto& own) { return own->port == port; });
  if (last == rules_.rend() || last->get() != rule) throw std::logic_error("not this port's last rule");
  on_change(port);
  rules_.erase(std::next(last).base());
  return 0;
}

void Card::say(std::uint16_t port, rte_eth_event_type event) {
  const Listener listener = listeners.at({port, event});
  listener.first(port, event, listener.second, nullptr);
}

std::optional<std::uint16_t> Card::queue_of(std::uint16_t port, const Octets& frame) const {
  const std::vector<Layer> layers = parse(frame);
  std::optional<std::uint16_t> queue;
  for (const auto& rule : rules_) {
    if (rule->port != port || !matches(*rule, layers)) continue;
    if (queue) throw std::logic_error("two rules for one packet");
    queue = rule->queue;
  }
  return queue;
}

}  // namespace espgate::test

using espgate::test::the_card;

int rte_flow_validate(std::uint16_t, const rte_flow_attr* attributes, const rte_flow_item pattern[],
                      const rte_flow_action actions[], rte_flow_error* error) {
  return the_card->validate(*attributes, pattern, actions, error);
}

rte_flow* rte_flow_create(std::uint16_t port, const rte_flow_attr* attributes, const rte_flow_item pattern[],
                          const rte_flow_action actions[], rte_flow_error* error) {
  return the_card->create(port, *attributes, pattern, actions, error);
}

int rte_flow_destroy(std::uint16_t port, rte_flow* rule, rte_flow_error* error) {
  return the_card->destroy(port, rule, error);
}

int rte_eth_dev_set_mc_addr_list(std::uint16_t port, rte_ether_addr* list, std::uint32_t count) {
  if (!the_card->filters_groups) return -ENOTSUP;
  std::set<espgate::test::Mac>& groups = the_card->groups[port];
  groups.clear();
  for (std::uint32_t i = 0; i < count; ++i) {
    espgate::test::Mac mac;
    std::copy_n(list[i].addr_bytes, mac.size(), mac.begin());
    groups.insert(mac);
  }
  return 0;
}

int rte_eth_allmulticast_enable(std::uint16_t port) {
  if (!the_card->all_multicast) return -ENOTSUP;
  the_card->let_all_multicast_through.insert(port);
  return 0;
}

int rte_eth_promiscuous_enable(std::uint16_t port) {
  if (!the_card->promiscuous) return -ENOTSUP;
  the_card->let_all_through.insert(port);
  return 0;
}

int rte_eth_dev_callback_register(std::uint16_t port, rte_eth_event_type event, rte_eth_dev_cb_fn function,
                                  void* argument) {
  the_card->listeners[{port, event}] = {function, argument};
  return 0;
}

int rte_eth_dev_callback_unregister(std::uint16_t port, rte_eth_event_type event, rte_eth_dev_cb_fn, void*) {
  return the_card->listeners.erase({port, event}) == 1 ? 0 : -ENOENT;
}

int rte_eth_dev_reset(std::uint16_t port) {
  if (!the_card->resets) return -ENOTSUP;
  return rte_eth_dev_stop(port);
}
