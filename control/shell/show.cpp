#include "control/shell/show.hpp"

#include <fmt/format.h>

#include <charconv>

#include "control/shell/show_common.hpp"
#include "control/tunnels/printable.hpp"

namespace espgate::control {

json show_drops(Gateway& gateway, const Arguments& arguments, Time) {
  const bool nonzero = !arguments.empty() && arguments.front() == "--nonzero";
  if (!nonzero) want_no_arguments(arguments);
  const channel::CountersView& page = want_counters(gateway);
  json rows = json::array();
  const auto add = [&](std::string_view name, std::uint64_t count, std::string_view help) {
    if (!nonzero || count != 0) rows.push_back({{"name", name}, {"count", count}, {"help", help}});
  };
  for (std::size_t reason = 0; reason < channel::kDropReasons; ++reason) {
    const channel::DropReasonText& text = channel::kDropReasonText[reason];
    add(text.name, drops_of(page, reason), text.help);
  }
  // What the dataplane handed on, and the control process did not answer.
  const ike::HalfOpenRefusals& refused = gateway.half_open_refusals();
  add("ike-half-open-full", refused.full, "IKE_SA_INIT while as many half-open IKE SAs as there may be");
  add("ike-half-open-share", refused.share_taken,
      "IKE_SA_INIT of a source with its share of the half-open IKE SAs");
  return rows;
}

json show_unknown_spis(Gateway& gateway, const Arguments& arguments, Time now) {
  want_no_arguments(arguments);
  json rows = json::array();
  for (const UnknownSpis::Row& row : gateway.unknown_spis().rows())
    rows.push_back({{"source", to_string(row.source)},
                    {"destination", to_string(row.destination)},
                    {"packets", row.packets},
                    {"last_spi", fmt::format("{:08x}", row.last_spi)},
                    {"first_seen_seconds_ago", seconds_since(row.first_seen, now)},
                    {"last_seen_seconds_ago", seconds_since(row.last_seen, now)}});
  return {{"sources", std::move(rows)}, {"other_packets", gateway.unknown_spis().others()}};
}

namespace {

std::size_t number_argument(const std::string& text) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0)
    throw CommandError(fmt::format("\"{}\" is not a number of lines", printable(text)));
  return number;
}

}  // namespace

json show_log(Gateway& gateway, const Arguments& arguments, Time) {
  std::size_t count = 20;
  std::string tunnel;
  for (std::size_t at = 0; at < arguments.size(); at += 2) {
    const bool has_value = at + 1 < arguments.size();
    if (arguments[at] == "-n" && has_value)
      count = number_argument(arguments[at + 1]);
    else if (arguments[at] == "tunnel" && has_value)
      tunnel = gateway.configuration().tunnels[tunnel_named(gateway, arguments[at + 1])].name;
    else
      throw CommandError("expected: show log [-n N] [tunnel NAME]");
  }
  json lines = json::array();
  for (const LogLine& log_line : gateway.log_lines().last(count, printable(tunnel)))
    lines.push_back(format_line(log_line));
  return {{"lines", std::move(lines)}};
}

// How late a thread of the dataplane has been: somebody else had its CPU, or one round took so long.
json pauses_of(const channel::WorkerCounters& thread) {
  return {{"longest_pause_ms", read(thread.longest_pause_ns) / 1'000'000},
          {"long_pauses", read(thread.long_pauses)}};
}

json show_version(Gateway& gateway, const Arguments& arguments, Time now) {
  want_no_arguments(arguments);
  json data{{"version", ESPGATE_VERSION},
            {"name", printable(gateway.configuration().name)},
            {"channel_version", channel::kVersion},
            {"dataplane_attached", gateway.link().attached()}};
  if (!gateway.link().attached()) {
    data["dataplane_away"] = printable(gateway.away_because());
    return data;
  }
  const channel::CountersHeader& header = gateway.link().counters().header();
  const Time heartbeat(std::chrono::nanoseconds(header.heartbeat_ns.load(std::memory_order_relaxed)));
  data["dataplane_heartbeat_ms"] =
      std::chrono::duration_cast<std::chrono::milliseconds>(now - heartbeat).count();
  data["lost_events"] = read(header.lost_events);
  data["reassembled"] = read(header.main_thread.reassembled);
  data["main_thread"] = pauses_of(header.main_thread);
  data["workers"] = json::array();
  const channel::CountersView& page = gateway.link().counters();
  for (std::uint32_t worker = 0; worker < page.shape().workers; ++worker) {
    json row = pauses_of(page.worker(worker));
    row["loops"] = read(page.worker(worker).loops);
    row["busy_loops"] = read(page.worker(worker).busy_loops);
    row["handed_off"] = read(page.worker(worker).handed_off);
    data["workers"].push_back(std::move(row));
  }
  return data;
}

}  // namespace espgate::control
