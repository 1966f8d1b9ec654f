#include "control/tunnels/unknown_spis.hpp"

#include <algorithm>

namespace espgate::control {

bool UnknownSpis::note(const channel::UnknownSpi& event, Time now) {
  if (!is_valid(event.source) || !event.source.is_set()) {
    others_ += event.packets;
    return false;
  }
  const bool fresh = !rows_.contains(event.source);
  if (fresh && rows_.size() == kMost) make_room();
  Row& row = rows_[event.source];
  if (fresh) row.first_seen = now;
  row.source = event.source;
  row.destination = event.destination;
  row.last_spi = event.spi;
  row.packets += event.packets;
  row.last_seen = now;
  return fresh;
}

void UnknownSpis::make_room() {
  const auto oldest = std::min_element(rows_.begin(), rows_.end(), [](const auto& a, const auto& b) {
    return a.second.last_seen < b.second.last_seen;
  });
  others_ += oldest->second.packets;
  rows_.erase(oldest);
}

std::vector<UnknownSpis::Row> UnknownSpis::rows() const {
  std::vector<Row> out;
  for (const auto& [source, row] : rows_) out.push_back(row);
  std::stable_sort(out.begin(), out.end(),
                   [](const Row& a, const Row& b) { return a.last_seen > b.last_seen; });
  return out;
}

}  // namespace espgate::control
