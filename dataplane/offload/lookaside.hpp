// Which SAs are with a crypto device (lookaside), and when. An SA that a device takes stays with it: where a
// packet of it is not the device's after all, the engine does it in its turn (flights.hpp). A session that
// the device failed with is given back and made anew later; of a device that stops answering all SAs become
// software's. Main thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "channel/counters.hpp"
#include "channel/messages.hpp"
#include "dataplane/offload/backoff.hpp"
#include "dataplane/offload/crypto_device.hpp"
#include "dataplane/tables/forwarding.hpp"

namespace espgate::dataplane {

struct FreeOperations {
  void operator()(rte_mempool* pool) const noexcept;
};

class Lookaside {
 public:
  explicit Lookaside(Forwarding& tables) : tables_(tables) {}
  ~Lookaside();  // the workers must have stopped
  Lookaside(const Lookaside&) = delete;
  Lookaside& operator=(const Lookaside&) = delete;

  // Before the workers run and before there are SAs. Gives each worker its Flights; throws
  // std::runtime_error without memory for them.
  void use(std::vector<std::unique_ptr<CryptoDevice>> devices, const std::vector<Worker*>& workers);

  // An SA was prepared from a command, and no card has it. One that a device may have is not plain.
  void adopt(OutboundSa& sa, const channel::InstallSa& install);
  void adopt(InboundSa& sa, const channel::InstallSa& install);  // with a device on return, if one takes it
  [[nodiscard]] bool has(OutboundSa& sa) const;
  // Is it with a device now? Its outer next hop is to say so.
  [[nodiscard]] bool take(OutboundSa& sa);
  // The SA is not published any more; workers may hold it until the grace period is over.
  void release(OutboundSa& sa);
  void release(InboundSa& sa);
  // A few times a second.
  void poll(std::uint64_t now);

  // What there is to show of the devices.
  void tell(channel::CountersHeader& page) const;

  [[nodiscard]] const std::vector<std::unique_ptr<CryptoDevice>>& devices() const noexcept {
    return devices_;
  }

 private:
  struct Entry {
    CardSa sa;
    bool esn;
    CryptoDevice* device{nullptr};  // whose `held` is or was
    std::shared_ptr<HeldByDevice> held{};
    bool given_back{false};  // the session; workers may still find `held`, and know it as lost
    BackOff again{};
  };
  [[nodiscard]] static Entry make_entry(const channel::InstallSa& install, channel::Direction direction);
  [[nodiscard]] bool offer(Entry& entry);
  [[nodiscard]] CryptoDevice* choose(const Entry& entry) const noexcept;
  void give_back(Entry& entry);
  template <class Sa>
  void poll(std::map<Sa*, Entry>& entries, std::uint64_t now, unsigned& offers);
  template <class Sa>
  void release(std::map<Sa*, Entry>& entries, Sa& sa);
  template <class Sa>
  void vacate(std::map<Sa*, Entry>& entries, const CryptoDevice& device);
  void watch();

  Forwarding& tables_;
  std::vector<std::unique_ptr<CryptoDevice>> devices_;
  std::vector<bool> buried_;  // given up, and its SAs are software's or on the way there
  std::vector<std::unique_ptr<rte_mempool, FreeOperations>> operations_;  // by worker
  std::vector<std::unique_ptr<Flights>> flights_;
  std::map<OutboundSa*, Entry> outbound_;
  std::map<InboundSa*, Entry> inbound_;
  std::vector<std::shared_ptr<HeldByDevice>> kept_;  // by devices that were given up
};

}  // namespace espgate::dataplane
