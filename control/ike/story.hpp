// What is remembered of a tunnel's negotiations, for `explain tunnel` and the counters: the last messages
// without what they hold of keys, and what the peer said of itself. Small, as there may be ten thousand
// tunnels.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "control/ike/message.hpp"

namespace espgate::ike {

// One message, of either side.
struct Told {
  static constexpr std::size_t kNotifies = 3;
  std::chrono::steady_clock::time_point at;
  std::uint32_t message_id{0};
  std::uint32_t payloads{0};                     // bit n: one of type 33 + n
  std::array<NotifyType, kNotifies> notifies{};  // the first, errors before others; 0: none
  Exchange exchange{};
  std::uint8_t repeats{0};  // of a request of ours: how often it went out again
  bool sent{false};
  bool response{false};
};

// What the peer said last, kept while the tunnel is not up. Of IKE_SA_INIT nothing is authenticated.
struct Heard {
  std::optional<SaPayload> ike, esp;  // cut short where a stranger says too much
  bool offered_ike{false};            // these are what it proposed; else it chose them of ours
  bool offered_esp{false};
  bool pfs{false};                           // of ESP: in CREATE_CHILD_SA, where PFS groups are told
  std::optional<IdPayload> peer_id, our_id;  // who it says that it is, and that we should be
  std::vector<TrafficSelector> their_selectors, our_selectors;
  std::optional<NotifyType> error;
  bool nat_local{false}, nat_remote{false};
};

class Story {
 public:
  static constexpr std::size_t kMost = 12;  // messages

  void add(const Header& header, bool sent, const std::vector<Payload>& payloads,
           std::chrono::steady_clock::time_point now);
  void repeated();  // the newest request of ours went out again
  void nat(bool local, bool remote);
  void forget_heard() { heard_.reset(); }

  [[nodiscard]] std::vector<Told> messages() const;  // the oldest first
  [[nodiscard]] const Heard* heard() const { return heard_.get(); }

 private:
  Heard& hear();
  void listen(const Header& header, const std::vector<Payload>& payloads);

  std::vector<Told> ring_;
  std::size_t oldest_{0};
  std::unique_ptr<Heard> heard_;
};

// Notifies of every kind, sent and received.
class NotifyCounters {
 public:
  struct Count {
    std::uint64_t sent{0}, received{0};
  };
  void add(bool sent, const std::vector<Payload>& payloads);
  // By type. Of types that have no name here the first sixty-four have their own count, as strangers can make
  // them up; the others are counted together as type 0.
  [[nodiscard]] const std::map<NotifyType, Count>& counts() const { return counts_; }

 private:
  Count& count_of(NotifyType type);
  std::map<NotifyType, Count> counts_;
  unsigned unnamed_{0};
};

// "strongSwan", of a Vendor ID payload that is known or is text; hex digits of others.
[[nodiscard]] std::string software_of(const std::vector<Payload>& payloads);

}  // namespace espgate::ike
