#include "control/shell/render.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "channel/counters.hpp"
#include "control/shell/text.hpp"

namespace espgate::control {

namespace {

std::string text_of(const json& row, const char* key) { return row.value(key, std::string()); }
std::uint64_t count_of(const json& row, const char* key) { return row.value(key, std::uint64_t{0}); }
std::string number_of(const json& row, const char* key) { return short_number(count_of(row, key)); }

std::string time_of(const json& row, const char* key) {
  if (!row.contains(key)) return "-";
  return short_duration(std::chrono::seconds(row.at(key).get<std::int64_t>()));
}

std::string joined(const json& list) {
  std::string text;
  for (const json& item : list) text += (text.empty() ? "" : ", ") + item.get<std::string>();
  return text;
}

std::string far_end_note(const json& far_end) {
  const bool alive = far_end.value("alive", false);
  return wrapped(fmt::format("the far end is {} since {}: {}", alive ? "alive" : "lost",
                             time_of(far_end, "since_seconds"), text_of(far_end, "reason")),
                 4);
}

std::string tunnel_notes(const json& row) {
  const std::string peer = text_of(row, "peer");
  std::string text = wrapped(fmt::format("{} > {}{}", text_of(row, "local"), text_of(row, "remote"),
                                         peer.empty() ? "" : fmt::format(" [{}]", peer)),
                             4);
  if (row.contains("slots"))
    text += wrapped(
        fmt::format("the first of {} for peers from anywhere; {} are taken, {} peers were refused for want "
                    "of one",
                    count_of(row, "slots"), count_of(row, "slots_taken"), count_of(row, "peers_refused")),
        4);
  if (row.value("adopted", false))
    text += wrapped("carried by SAs of a former control process until new ones are negotiated", 4);
  if (row.contains("parent")) text += wrapped("by the IKE SA of " + text_of(row, "parent"), 4);
  if (text_of(row, "keys") == "manual") text += wrapped("manual keys", 4);
  if (row.contains("far_end")) text += far_end_note(row.at("far_end"));
  if (row.contains("path_mtu"))
    text += wrapped(fmt::format("the path carries {} bytes, said {} {} ago", count_of(row, "path_mtu"),
                                text_of(row, "path_mtu_from"), time_of(row, "path_mtu_seconds")),
                    4);
  if (count_of(row, "cut_before") + count_of(row, "cut_after") != 0)
    text += wrapped(fmt::format("cut into fragments: {} packets before encryption, {} after",
                                number_of(row, "cut_before"), number_of(row, "cut_after")),
                    4);
  const std::string error = text_of(row, "last_error");
  if (!error.empty())
    text += wrapped(fmt::format("last error ({} ago): {}", time_of(row, "last_error_seconds_ago"), error), 4);
  if (row.contains("retry_in_seconds"))
    text += wrapped(fmt::format("attempts: {}, the next in {}", count_of(row, "attempts"),
                                time_of(row, "retry_in_seconds")),
                    4);
  return text;
}

}  // namespace

std::string render_tunnels(const json& data) {
  if (data.empty()) return "no tunnels are configured\n";
  std::string text =
      line(fmt::format("{} {} {} {} {} {}", left("TUNNEL", 24), left("STATE", 10), left("INTERFACE", 16),
                       left("SINCE", 8), right("RX PKTS", 8), right("TX PKTS", 8)));
  for (const json& row : data) {
    text +=
        line(fmt::format("{} {} {} {} {} {}", left(text_of(row, "name"), 24), left(text_of(row, "state"), 10),
                         left(text_of(row, "interface"), 16), left(time_of(row, "since_seconds"), 8),
                         right(number_of(row, "rx_packets"), 8), right(number_of(row, "tx_packets"), 8)));
    text += tunnel_notes(row);
  }
  return text;
}

std::string render_ike_sa(const json& data) {
  if (data.empty()) return "no IKE SAs\n";
  std::string text =
      line(fmt::format("{} {} {} {} {} {}", left("TUNNEL", 24), left("STATE", 12), left("ROLE", 10),
                       left("AGE", 8), left("REKEY IN", 9), right("CHILDREN", 8)));
  for (const json& row : data) {
    const std::string tunnel = text_of(row, "tunnel");
    text +=
        line(fmt::format("{} {} {} {} {} {}", left(tunnel.empty() ? "(not known yet)" : tunnel, 24),
                         left(text_of(row, "state"), 12), left(text_of(row, "role"), 10),
                         left(time_of(row, "established_seconds"), 8),
                         left(time_of(row, "rekey_in_seconds"), 9), right(number_of(row, "children"), 8)));
    text += wrapped(fmt::format("{} [{}] > {} [{}]", text_of(row, "local"), text_of(row, "local_id"),
                                text_of(row, "remote"), text_of(row, "remote_id")),
                    4);
    if (const std::string ppk = text_of(row, "ppk"); !ppk.empty())
      text += wrapped("its keys have the PPK " + ppk + " in them", 4);
    if (row.contains("tunnels") && row.at("tunnels").size() > 1)
      text += wrapped("child SAs of " + joined(row.at("tunnels")), 4);
    if (const std::string software = text_of(row, "software"); !software.empty())
      text += wrapped("the peer is " + software, 4);
    text += wrapped(
        fmt::format("SPIs {} {}  {}{}{}", text_of(row, "initiator_spi"), text_of(row, "responder_spi"),
                    text_of(row, "algorithms"), row.value("nat_local", false) ? ", NAT here" : "",
                    row.value("nat_remote", false) ? ", NAT at the peer" : ""),
        4);
  }
  return text;
}

namespace {

std::string done_by(const json& row, const char* whom, const char* rx, const char* tx) {
  if (count_of(row, rx) == 0 && count_of(row, tx) == 0) return {};
  return wrapped(fmt::format("by the {}: rx {}, tx {} packets", whom, number_of(row, rx), number_of(row, tx)),
                 4);
}

// What cards and crypto devices did of the ESP; nothing where they did none.
std::string not_by_software(const json& row) {
  return done_by(row, "card", "rx_ipsec", "tx_ipsec") +
         done_by(row, "crypto device", "rx_crypto", "tx_crypto");
}

std::string child_notes(const json& row) {
  std::string text = wrapped(fmt::format("in   {} packets, {} bytes, sequence {}; replayed {}, bad ICV {}",
                                         number_of(row, "inbound_packets"), number_of(row, "inbound_bytes"),
                                         count_of(row, "inbound_sequence"), number_of(row, "replayed"),
                                         number_of(row, "integrity_failed")),
                             4);
  text += wrapped(fmt::format("out  {} packets, {} bytes, sequence {}", number_of(row, "outbound_packets"),
                              number_of(row, "outbound_bytes"), count_of(row, "outbound_sequence")),
                  4);
  text += not_by_software(row);
  const std::string group = text_of(row, "pfs_group");
  text += wrapped(fmt::format("{} > {}, {}{}{}{}", text_of(row, "local"), text_of(row, "remote"),
                              row.value("udp_encapsulation", false) ? "in UDP" : "raw ESP",
                              text_of(row, "mode") == "transport" ? ", transport mode" : "",
                              row.value("esn", false) ? ", ESN" : "",
                              group.empty() || group == "no group" ? "" : ", PFS by " + group),
                  4);
  if (row.value("adopted", false))
    text += wrapped("of a former control process; until a new one is negotiated", 4);
  if (row.value("manual", false)) text += wrapped("manual keys, never replaced", 4);
  if (row.contains("local_selectors"))
    text += wrapped(fmt::format("selectors {} > {}", joined(row.at("local_selectors")),
                                joined(row.at("remote_selectors"))),
                    4);
  return text;
}

std::string spi_or_dash(const json& row, const char* spi, const char* installed) {
  return row.value(installed, false) ? text_of(row, spi) : "-";
}

}  // namespace

std::string render_ipsec_sa(const json& data) {
  if (data.empty()) return "no child SAs\n";
  std::string text =
      line(fmt::format("{} {} {} {} {} {} {}", left("TUNNEL", 19), left("SPI IN", 8), left("SPI OUT", 8),
                       left("SUITE", 14), left("AGE", 7), left("REKEY IN", 8), left("EXPIRES", 8)));
  for (const json& row : data) {
    text += line(fmt::format("{} {} {} {} {} {} {}", left(text_of(row, "tunnel"), 19),
                             left(spi_or_dash(row, "inbound_spi", "inbound_installed"), 8),
                             left(spi_or_dash(row, "outbound_spi", "outbound_installed"), 8),
                             left(text_of(row, "suite"), 14), left(time_of(row, "age_seconds"), 7),
                             left(time_of(row, "rekey_in_seconds"), 8),
                             left(time_of(row, "expires_in_seconds"), 8)));
    text += child_notes(row);
  }
  return text;
}

namespace {

std::string device_words(const json& row) {
  const std::string speed =
      count_of(row, "speed") != 0 ? fmt::format(", {} Mb/s", count_of(row, "speed")) : "";
  return fmt::format("{} ({}){}, {} receive and {} transmit queues: {}", text_of(row, "device"),
                     text_of(row, "driver"), speed, count_of(row, "receive_queues"),
                     count_of(row, "transmit_queues"), text_of(row, "spreading"));
}

}  // namespace

std::string render_interfaces(const json& data) {
  std::string text = line(fmt::format("{} {} {} {} {}", left("INTERFACE", 24), left("KIND", 7),
                                      left("STATE", 8), right("MTU", 5), "MAC"));
  for (const json& row : data) {
    const std::string mtu = row.contains("mtu") ? std::to_string(count_of(row, "mtu")) : "auto";
    text += line(fmt::format("{} {} {} {} {}", left(text_of(row, "name"), 24), left(text_of(row, "kind"), 7),
                             left(text_of(row, "state"), 8), right(mtu, 5), text_of(row, "mac")));
    if (text_of(row, "state") == "absent") text += wrapped("absent for " + time_of(row, "since_seconds"), 4);
    if (row.contains("driver")) text += wrapped(device_words(row), 4);
    if (!row.at("addresses").empty()) text += wrapped(joined(row.at("addresses")), 4);
    text += wrapped(
        fmt::format("rx {} packets, {} bytes{}", number_of(row, "rx_packets"), number_of(row, "rx_bytes"),
                    row.contains("no_buffer")
                        ? fmt::format(", missed {}, without a buffer {}, errors {}", number_of(row, "missed"),
                                      number_of(row, "no_buffer"), number_of(row, "rx_errors"))
                        : ""),
        4);
    text += wrapped(
        fmt::format("tx {} packets, {} bytes{}", number_of(row, "tx_packets"), number_of(row, "tx_bytes"),
                    row.contains("tx_errors") ? ", errors " + number_of(row, "tx_errors") : ""),
        4);
    text += not_by_software(row);
  }
  return text;
}

std::string render_crypto_devices(const json& data) {
  if (data.empty()) return "no crypto devices are configured\n";
  std::string text = line(fmt::format("{} {} {} {}", left("CRYPTO DEVICE", 24), left("DRIVER", 20),
                                      left("STATE", 8), "SESSIONS"));
  for (const json& row : data) {
    text += line(fmt::format("{} {} {} {} of {}", left(text_of(row, "name"), 24),
                             left(text_of(row, "driver"), 20), left(text_of(row, "state"), 8),
                             count_of(row, "sessions"), count_of(row, "most_sessions")));
    text += wrapped(text_of(row, "suites"), 4);
    text += wrapped(fmt::format("opened {}, sealed {} packets; failed {}, lost {}", number_of(row, "opened"),
                                number_of(row, "sealed"), number_of(row, "failed"), number_of(row, "lost")),
                    4);
  }
  return text;
}

namespace {

// Of a route that is not of the main table, or leads to another one; both may be missing.
std::string line_of_tables(const json& row) {
  const std::string table = row.contains("table") ? text_of(row, "table") : "main";
  const std::string via = row.contains("via_table") ? text_of(row, "via_table") : table;
  if (table == "main" && via == table) return {};
  return wrapped(via == table ? "in table " + table : "in table " + table + ", by way of table " + via, 4);
}

}  // namespace

std::string render_routes(const json& data) {
  if (data.empty()) return "no routes\n";
  std::string text = line(fmt::format("{} {} {}", left("DESTINATION", 43), left("KIND", 9), "TO"));
  for (const json& row : data) {
    text += line(fmt::format("{} {} {}", left(text_of(row, "destination"), 43), left(text_of(row, "kind"), 9),
                             left(text_of(row, "target"), 26)));
    text += line_of_tables(row);
    if (const std::string refused = text_of(row, "refused"); !refused.empty())
      text += wrapped("refused by the dataplane: " + refused, 4);
    if (row.contains("held")) text += wrapped("held back: " + text_of(row, "held"), 4);
  }
  return text;
}

std::string render_group(const json& data) {
  std::string text = line(fmt::format("group {}: {} of {} members up, {}", text_of(data, "name"),
                                      count_of(data, "members_up"), data.at("members").size(),
                                      text_of(data, "by") == "selectors"
                                          ? "chosen by their selectors"
                                          : fmt::format("{} buckets", count_of(data, "buckets"))));
  text += line(fmt::format("{} {} {} {} {} {}", left("MEMBER", 20), right("WEIGHT", 6), right("PRIO", 4),
                           right("BUCKETS", 7), right("PACKETS", 8), "STATE"));
  for (const json& member : data.at("members"))
    text += line(fmt::format("{} {} {} {} {} {}", left(text_of(member, "name"), 20),
                             right(std::to_string(count_of(member, "weight")), 6),
                             right(std::to_string(count_of(member, "priority")), 4),
                             right(std::to_string(count_of(member, "buckets")), 7),
                             right(number_of(member, "packets"), 8), text_of(member, "state")));
  return text;
}

std::string render_groups(const json& data) {
  if (data.empty()) return "no groups are configured\n";
  std::string text = line(fmt::format("{} {}", left("GROUP", 32), "MEMBERS UP"));
  for (const json& row : data) {
    text += line(fmt::format("{} {} of {}", left(text_of(row, "name"), 32), count_of(row, "members_up"),
                             row.at("members").size()));
    for (const json& member : row.at("members"))
      text += line(fmt::format("    {} {}", left(text_of(member, "name"), 32), text_of(member, "state")));
  }
  return text;
}

// The help stands beside the count, broken into lines of its own column.
std::string render_drops(const json& data) {
  constexpr std::size_t kBefore = 22 + 1 + 8 + 2;
  if (data.empty()) return "no packet was dropped\n";
  std::string text = line(fmt::format("{} {}  {}", left("REASON", 22), right("PACKETS", 8), "MEANING"));
  for (const json& row : data) {
    std::string help = wrapped(text_of(row, "help"), kBefore);
    help.replace(0, kBefore,
                 fmt::format("{} {}  ", left(text_of(row, "name"), 22), right(number_of(row, "count"), 8)));
    text += help;
  }
  return text;
}

std::string render_unknown_spis(const json& data) {
  const std::uint64_t others = count_of(data, "other_packets");
  if (data.at("sources").empty() && others == 0) return "no ESP came for an SPI that no SA here has\n";
  std::string text = line(fmt::format("{} {} {} {} {}", left("SOURCE", 39), right("PACKETS", 8),
                                      left("LAST SPI", 8), left("FIRST", 9), left("LAST", 9)));
  for (const json& row : data.at("sources"))
    text += line(fmt::format("{} {} {} {} {}", left(text_of(row, "source"), 39),
                             right(number_of(row, "packets"), 8), left(text_of(row, "last_spi"), 8),
                             left(time_of(row, "first_seen_seconds_ago"), 9),
                             left(time_of(row, "last_seen_seconds_ago"), 9)));
  if (others != 0) text += wrapped(fmt::format("and {} packets of other sources", short_number(others)), 0);
  return text;
}

std::string render_log(const json& data) {
  std::string text;
  for (const json& entry : data.at("lines")) {
    const std::string folded = wrapped(entry.get<std::string>(), 4);
    text += folded.size() > 4 ? folded.substr(4) : folded;
  }
  return text.empty() ? "no such lines\n" : text;
}

namespace {

std::string pauses(const json& thread) {
  if (thread.at("longest_pause_ms") == 0) return "never late";
  return fmt::format("longest pause {} ms, {} of {} ms or more", number_of(thread, "longest_pause_ms"),
                     number_of(thread, "long_pauses"), channel::kLongPauseNs / 1'000'000);
}

}  // namespace

std::string render_version(const json& data) {
  std::string text =
      wrapped(fmt::format("espgate {} on {}", text_of(data, "version"), text_of(data, "name")), 0);
  if (!data.value("dataplane_attached", false))
    return text + wrapped("the dataplane is not attached: " + text_of(data, "dataplane_away"), 0);
  text +=
      wrapped(fmt::format("dataplane attached, heard of {} ms ago, {} events lost, {} packets reassembled",
                          data.at("dataplane_heartbeat_ms").get<std::int64_t>(),
                          number_of(data, "lost_events"), number_of(data, "reassembled")),
              0);
  text += wrapped("main thread: " + pauses(data.at("main_thread")), 0);
  std::size_t index = 0;
  for (const json& row : data.at("workers"))
    text +=
        wrapped(fmt::format("worker {}: {} poll rounds, {} of them found packets, {} packets handed off, {}",
                            index++, number_of(row, "loops"), number_of(row, "busy_loops"),
                            number_of(row, "handed_off"), pauses(row)),
                0);
  return text;
}

namespace {

std::string traffic_table(const char* packets, const char* bits, const json& rows) {
  std::string text =
      line(fmt::format("{} {} {} {} {} {}", left("INTERFACE", 24), left("STATE", 8),
                       right(fmt::format("RX {}", packets), 10), right(fmt::format("RX {}", bits), 10),
                       right(fmt::format("TX {}", packets), 10), right(fmt::format("TX {}", bits), 10)));
  for (const json& row : rows)
    text +=
        line(fmt::format("{} {} {} {} {} {}", left(text_of(row, "name"), 24), left(text_of(row, "state"), 8),
                         right(number_of(row, "rx_packets"), 10), right(number_of(row, "rx_bytes"), 10),
                         right(number_of(row, "tx_packets"), 10), right(number_of(row, "tx_bytes"), 10)));
  return text;
}

std::uint64_t rate(const json& before, const json& after, const char* key, double seconds, unsigned times) {
  const std::uint64_t first = count_of(before, key);
  const std::uint64_t last = count_of(after, key);
  if (last < first || seconds <= 0) return 0;  // the dataplane was restarted in between
  return static_cast<std::uint64_t>(static_cast<double>(last - first) * times / seconds);
}

}  // namespace

std::string render_totals(const json& data) {
  return traffic_table("PKTS", "BYTES", data.at("interfaces")) + line("dropped " + number_of(data, "drops"));
}

std::string render_rates(const json& before, const json& after) {
  const auto nanoseconds = after.at("time_ns").get<std::int64_t>() - before.at("time_ns").get<std::int64_t>();
  const double seconds = static_cast<double>(nanoseconds) / 1e9;
  json rows = json::array();
  const json& old_rows = before.at("interfaces");
  for (std::size_t index = 0; index < after.at("interfaces").size() && index < old_rows.size(); ++index) {
    const json& row = after.at("interfaces")[index];
    const json& old_row = old_rows[index];
    rows.push_back({{"name", row.at("name")},
                    {"state", row.at("state")},
                    {"rx_packets", rate(old_row, row, "rx_packets", seconds, 1)},
                    {"rx_bytes", rate(old_row, row, "rx_bytes", seconds, 8)},
                    {"tx_packets", rate(old_row, row, "tx_packets", seconds, 1)},
                    {"tx_bytes", rate(old_row, row, "tx_bytes", seconds, 8)}});
  }
  return traffic_table("pkt/s", "bit/s", rows) +
         line(fmt::format("dropped {}/s", short_number(rate(before, after, "drops", seconds, 1))));
}

std::string render_done(const json& data) { return wrapped(text_of(data, "done"), 0); }

}  // namespace espgate::control
