#include <fmt/format.h>

#include <map>
#include <set>

#include "control/ike/story.hpp"
#include "control/ike/transform_names.hpp"
#include "control/shell/show.hpp"
#include "control/shell/show_common.hpp"
#include "control/tunnels/printable.hpp"

namespace espgate::control {

namespace {

// Whose child SAs it has, each once.
json tunnels_of(const Gateway& gateway, const ike::IkeInfo& sa) {
  std::set<TunnelId> tunnels;
  for (const ike::ChildInfo& child : sa.children) tunnels.insert(child.tunnel);
  json names = json::array();
  for (const TunnelId tunnel : tunnels)
    names.push_back(printable(gateway.configuration().tunnels.at(tunnel).name));
  return names;
}

}  // namespace

json show_ike_sa(Gateway& gateway, const Arguments& arguments, Time now) {
  want_counters(gateway);
  const std::vector<TunnelId> chosen = chosen_tunnels(gateway, arguments);
  json rows = json::array();
  for (const ike::IkeInfo& sa : arguments.empty() ? gateway.ike_sas() : gateway.ike_sas(chosen.front())) {
    json row{{"tunnel", sa.tunnel_known ? printable(gateway.configuration().tunnels.at(sa.tunnel).name) : ""},
             {"initiator_spi", fmt::format("{:016x}", sa.spi_initiator)},
             {"responder_spi", fmt::format("{:016x}", sa.spi_responder)},
             {"role", sa.initiator ? "initiator" : "responder"},
             {"state", sa.state},
             {"algorithms", sa.algorithms},
             {"software", printable(sa.software)},
             {"ppk", sa.ppk},
             {"local", fmt::format("{}:{}", to_string(sa.local.address), sa.local.port)},
             {"remote", fmt::format("{}:{}", to_string(sa.remote.address), sa.remote.port)},
             {"local_id", printable(sa.local_id)},
             {"remote_id", printable(sa.remote_id)},
             {"nat_local", sa.nat_local},
             {"nat_remote", sa.nat_remote},
             {"children", sa.children.size()},
             {"tunnels", tunnels_of(gateway, sa)}};
    if (sa.established != Time{}) {
      row["established_seconds"] = seconds_since(sa.established, now);
      row["rekey_in_seconds"] = seconds_since(now, sa.rekey_at);
      row["expires_in_seconds"] = seconds_since(now, sa.expires_at);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

json show_ike_counters(Gateway& gateway, const Arguments& arguments, Time) {
  want_no_arguments(arguments);
  json rows = json::array();
  for (const auto& [type, count] : gateway.notify_counters().counts())
    rows.push_back({{"notify", type == ike::NotifyType{} ? "(others)" : ike::name_of(type)},
                    {"sent", count.sent},
                    {"received", count.received}});
  return rows;
}

namespace {

using ChildTimes = std::map<std::uint32_t, ike::ChildInfo>;

ChildTimes child_times(const Gateway& gateway, TunnelId tunnel) {
  ChildTimes times;
  for (const ike::IkeInfo& sa : gateway.ike_sas(tunnel))
    for (const ike::ChildInfo& child : sa.children) times[child.inbound_spi] = child;
  return times;
}

IpAddress last_of(const IpPrefix& prefix) {
  IpAddress last = prefix.address;
  const std::size_t bits = last.is_v4() ? 32 : 128;
  for (std::size_t bit = prefix.length; bit < bits; ++bit)
    last.bytes[bit / 8] = static_cast<std::uint8_t>(last.bytes[bit / 8] | 0x80U >> bit % 8);
  return last;
}

// As a prefix where the range is one.
std::string range_text(const IpAddress& first, const IpAddress& last) {
  const std::uint8_t bits = first.is_v4() ? 32 : 128;
  for (std::uint8_t length = 0; length <= bits; ++length) {
    const IpPrefix prefix{first, length};
    if (network_of(prefix).address == first && last_of(prefix) == last) return to_string(prefix);
  }
  return fmt::format("{}-{}", to_string(first), to_string(last));
}

std::string selector_text(const ike::TrafficSelector& selector) {
  std::string text = range_text(selector.first, selector.last);
  if (selector.protocol != 0) text += fmt::format(" protocol {}", selector.protocol);
  if (selector.first_port != 0 || selector.last_port != 65535)
    text += fmt::format(" ports {}-{}", selector.first_port, selector.last_port);
  return text;
}

json selector_list(const std::vector<ike::TrafficSelector>& selectors) {
  json list = json::array();
  for (const ike::TrafficSelector& selector : selectors) list.push_back(selector_text(selector));
  return list;
}

void put_status(json& row, const channel::SaStatus* inbound, const channel::SaStatus* outbound) {
  using channel::SaStatus;
  const auto put = [&row](const char* name, const SaStatus* status, channel::Counter SaStatus::*counter) {
    row[name] = status != nullptr ? read(status->*counter) : 0;
  };
  put("inbound_packets", inbound, &SaStatus::packets);
  put("inbound_bytes", inbound, &SaStatus::bytes);
  put("inbound_sequence", inbound, &SaStatus::highest_sequence);
  put("replayed", inbound, &SaStatus::replayed);
  put("integrity_failed", inbound, &SaStatus::failed);
  put("rx_ipsec", inbound, &SaStatus::by_card);
  put("rx_crypto", inbound, &SaStatus::by_device);
  put("outbound_packets", outbound, &SaStatus::packets);
  put("outbound_bytes", outbound, &SaStatus::bytes);
  put("outbound_sequence", outbound, &SaStatus::highest_sequence);
  put("tx_ipsec", outbound, &SaStatus::by_card);
  put("tx_crypto", outbound, &SaStatus::by_device);
}

json child_row(const Gateway& gateway, const ChildRecord& record, const ChildTimes& times, Time now) {
  const crypto::SuiteRow* suite = crypto::find_suite(record.suite);
  json row{{"tunnel", printable(gateway.configuration().tunnels.at(record.tunnel).name)},
           {"inbound_spi", fmt::format("{:08x}", record.inbound_spi)},
           {"outbound_spi", fmt::format("{:08x}", record.outbound_spi)},
           {"inbound_installed", record.inbound_installed},
           {"outbound_installed", record.outbound_installed},
           {"suite", suite != nullptr ? std::string(suite->name) : "unknown"},
           {"local", to_string(record.local)},
           {"remote", to_string(record.remote)},
           {"udp_encapsulation", record.udp_encapsulation},
           {"adopted", record.adopted},
           {"manual", record.manual},
           {"age_seconds", seconds_since(record.installed, now)}};
  if (record.remove_at) row["expires_in_seconds"] = seconds_since(now, *record.remove_at);
  const auto known = times.find(record.inbound_spi);
  if (known == times.end() || record.adopted) return row;
  row["rekey_in_seconds"] = seconds_since(now, known->second.rekey_at);
  row["expires_in_seconds"] = seconds_since(now, known->second.expires_at);
  row["mode"] = known->second.mode == channel::Mode::transport ? "transport" : "tunnel";
  row["esn"] = known->second.esn;
  row["pfs_group"] = ike::name_of(
      ike::Transform{ike::TransformType::dh, static_cast<std::uint16_t>(known->second.pfs_group), 0, false});
  row["local_selectors"] = selector_list(known->second.local_selectors);
  row["remote_selectors"] = selector_list(known->second.remote_selectors);
  return row;
}

}  // namespace

json show_ipsec_sa(Gateway& gateway, const Arguments& arguments, Time now) {
  const channel::CountersView& page = want_counters(gateway);
  const std::vector<TunnelId> chosen = chosen_tunnels(gateway, arguments);
  const OutboundStatuses outbound(page, chosen.size() == 1 ? std::optional(chosen.front()) : std::nullopt);
  json rows = json::array();
  for (const TunnelId tunnel : chosen) {
    const ChildTimes times = child_times(gateway, tunnel);
    for (const ChildRecord& record : gateway.book().of(tunnel)) {
      json row = child_row(gateway, record, times, now);
      put_status(row, inbound_status(page, record.inbound_spi), outbound.find(tunnel, record.outbound_spi));
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace espgate::control
