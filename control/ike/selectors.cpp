#include "control/ike/selectors.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "channel/messages.hpp"

namespace espgate::ike {
namespace {

constexpr std::size_t address_length(Family family) { return family == Family::v4 ? 4 : 16; }

TrafficSelector selector_of(const IpPrefix& prefix) {
  TrafficSelector out;
  out.first = network_of(prefix).address;
  out.last = out.first;
  const std::size_t bits = 8 * address_length(prefix.address.family);
  for (std::size_t bit = prefix.length; bit < bits; ++bit)
    out.last.bytes[bit / 8] = static_cast<std::uint8_t>(out.last.bytes[bit / 8] | 0x80 >> bit % 8);
  return out;
}

std::optional<TrafficSelector> intersection(const TrafficSelector& a, const TrafficSelector& b) {
  if (a.first.family != b.first.family) return std::nullopt;
  if (a.protocol != 0 && b.protocol != 0 && a.protocol != b.protocol) return std::nullopt;
  TrafficSelector out;
  out.protocol = std::max(a.protocol, b.protocol);
  out.first = std::max(a.first, b.first);
  out.last = std::min(a.last, b.last);
  out.first_port = std::max(a.first_port, b.first_port);
  out.last_port = std::min(a.last_port, b.last_port);
  // OPAQUE (section 3.13.1: start 65535, end 0) is no range; it goes with itself and with "any".
  const bool opaque_a = a.first_port > a.last_port;
  const bool opaque_b = b.first_port > b.last_port;
  if (opaque_a || opaque_b) {
    out.first_port = 65535;
    out.last_port = 0;
    const auto any = [](const TrafficSelector& s) { return s.first_port == 0 && s.last_port == 65535; };
    if ((!opaque_a && !any(a)) || (!opaque_b && !any(b))) return std::nullopt;
  } else if (out.first_port > out.last_port) {
    return std::nullopt;
  }
  if (out.first > out.last) return std::nullopt;
  return out;
}

bool has_family(const Selectors& selectors, Family family) {
  return std::any_of(selectors.begin(), selectors.end(),
                     [family](const TrafficSelector& s) { return s.first.family == family; });
}

// The prefix length of a range that is one, or nullopt.
std::optional<unsigned> prefix_length(const TrafficSelector& s) {
  const unsigned bits = 8 * static_cast<unsigned>(address_length(s.first.family));
  for (unsigned length = 0; length <= bits; ++length) {
    const IpPrefix prefix{s.first, static_cast<std::uint8_t>(length)};
    if (network_of(prefix).address == s.first && selector_of(prefix).last == s.last) return length;
  }
  return std::nullopt;
}

std::string words(const TrafficSelector& s) {
  const auto length = prefix_length(s);
  const std::string range = length ? fmt::format("{}/{}", to_string(s.first), *length)
                                   : fmt::format("{}-{}", to_string(s.first), to_string(s.last));
  if (s.protocol == 0 && s.first_port == 0 && s.last_port == 65535) return range;
  return fmt::format("{}[{}/{}-{}]", range, s.protocol, s.first_port, s.last_port);
}

}  // namespace

Selectors selectors_of(const std::vector<conf::SelectorPrefix>& prefixes) {
  Selectors out;
  for (const IpPrefix& prefix : prefixes) out.push_back(selector_of(prefix));
  return out;
}

Selectors narrow(const Selectors& offered, const Selectors& allowed) {
  Selectors out;
  for (const TrafficSelector& a : offered) {
    for (const TrafficSelector& b : allowed) {
      const auto both = intersection(a, b);
      if (both && out.size() < channel::kMaxSelectors &&
          std::find(out.begin(), out.end(), *both) == out.end())
        out.push_back(*both);
    }
  }
  return out;
}

bool is_subset(const Selectors& answer, const Selectors& offer) {
  const auto offered = [&offer](const TrafficSelector& a) {
    return std::any_of(offer.begin(), offer.end(),
                       [&a](const TrafficSelector& o) { return intersection(a, o) == a; });
  };
  return !answer.empty() && std::all_of(answer.begin(), answer.end(), offered);
}

bool are_same(const Selectors& a, const Selectors& b) { return is_subset(a, b) && is_subset(b, a); }

double extent(const Selectors& selectors) {
  double sum = 0;
  for (const TrafficSelector& selector : selectors) {
    double count = 0;
    for (std::size_t i = 0; i < address_length(selector.first.family); ++i)
      count = count * 256 + selector.last.bytes[i] - selector.first.bytes[i];
    sum += count + 1;
  }
  return sum;
}

void keep_common_families(Selectors& a, Selectors& b) {
  const Selectors before = a;
  std::erase_if(a, [&b](const TrafficSelector& s) { return !has_family(b, s.first.family); });
  std::erase_if(b, [&before](const TrafficSelector& s) { return !has_family(before, s.first.family); });
}

std::string words(const Selectors& selectors) {
  std::string out;
  for (const TrafficSelector& selector : selectors) out += (out.empty() ? "" : ", ") + words(selector);
  return out.empty() ? "none" : out;
}

}  // namespace espgate::ike
