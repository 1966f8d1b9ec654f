#include "dataplane/ports/unknown_spis.hpp"

#include <utility>

#include "channel/messages.hpp"

namespace espgate::dataplane {

void UnknownSpis::tell(Entry& entry, std::uint64_t now) {
  channel::Event event{};
  event.kind = channel::EventKind::unknown_spi;
  event.body.unknown_spi = {entry.source, entry.destination, entry.spi, std::exchange(entry.packets, 0)};
  control_.tell(event);
  entry.told_ns = now;
}

void UnknownSpis::drive_out(Entry& entry, std::uint64_t now) {
  if (entry.packets != 0 && all_.take(now, kTellRate, kTellRate)) tell(entry, now);
  others_.packets += entry.packets;
  entry = {};
}

void UnknownSpis::note(const IpAddress& source, const IpAddress& destination, std::uint32_t spi,
                       std::uint64_t now) {
  Entry& entry = entries_[source_bucket(source, seed_, kSources)];
  if (entry.source != source) drive_out(entry, now);
  const bool fresh = entry.told_ns == 0;
  entry.source = source;
  entry.destination = destination;
  entry.spi = spi;
  entry.packets++;
  if ((fresh || now - entry.told_ns >= kTellEveryNs) && all_.take(now, kTellRate, kTellRate))
    tell(entry, now);
}

void UnknownSpis::advance(std::uint64_t now) {
  if (now < next_ns_) return;
  next_ns_ = now + kTellEveryNs;
  for (Entry& entry : entries_)
    if (entry.packets != 0 && now - entry.told_ns >= kTellEveryNs && all_.take(now, kTellRate, kTellRate))
      tell(entry, now);
  if (others_.packets != 0) tell(others_, now);
}

}  // namespace espgate::dataplane
