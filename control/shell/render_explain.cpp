// `explain tunnel` and the counters of notifies as text.
#include <fmt/format.h>

#include "control/shell/render.hpp"
#include "control/shell/text.hpp"

namespace espgate::control {
namespace {

std::string text_of(const json& row, const char* key) { return row.value(key, std::string()); }

std::string ago(const json& row, const char* key) {
  return short_duration(std::chrono::seconds(row.value(key, std::int64_t{0})));
}

std::string state_line(const json& data) {
  std::string text = fmt::format("tunnel {} is {} since {}", text_of(data, "tunnel"), text_of(data, "state"),
                                 ago(data, "since_seconds"));
  if (data.contains("retry_in_seconds"))
    text += fmt::format("; {} attempts, the next in {}", data.value("attempts", 0U),
                        ago(data, "retry_in_seconds"));
  text = wrapped(text, 0);
  if (data.contains("parent"))
    text += wrapped(fmt::format("by the IKE SA of tunnel {}, which is {}", text_of(data, "parent"),
                                text_of(data, "parent_state")),
                    2);
  return text;
}

// "  IKE      aes256-sha384-ecp384", where the key is there.
std::string field(const char* name, const json& from, const char* key) {
  if (!from.contains(key)) return {};
  return wrapped(fmt::format("{}: {}", name, text_of(from, key)), 4);
}

std::string both_sides(const json& data) {
  const json& ours = data.at("ours");
  std::string text = line("we have");
  text += wrapped(fmt::format("ends: {} > {}", text_of(ours, "local"), text_of(ours, "remote")), 4);
  text +=
      wrapped(fmt::format("identities: {} > {}", text_of(ours, "local_id"), text_of(ours, "remote_id")), 4);
  text += field("PPKs", ours, "ppks") + field("IKE", ours, "ike") + field("ESP", ours, "esp");
  text += wrapped(
      fmt::format("selectors: {} > {}", text_of(ours, "local_selectors"), text_of(ours, "remote_selectors")),
      4);
  const json& theirs = data.at("theirs");
  if (theirs.empty()) return text;
  text += line("the peer said last");
  text += field("it is", theirs, "peer_id") + field("we should be", theirs, "our_id");
  text += field("IKE, offered", theirs, "ike") + field("IKE, chosen", theirs, "ike_chosen");
  text += field("ESP, offered", theirs, "esp") + field("ESP, chosen", theirs, "esp_chosen");
  text += field("selectors, its side", theirs, "peer_selectors") +
          field("selectors, our side", theirs, "our_selectors");
  text += field("error", theirs, "error");
  if (theirs.value("nat_local", false)) text += wrapped("a NAT is in front of us", 4);
  if (theirs.value("nat_remote", false)) text += wrapped("a NAT is in front of the peer", 4);
  return text;
}

std::string compared(const json& rows) {
  std::string text;
  for (const json& row : rows)
    if (!row.value("fits", true))
      text += wrapped(fmt::format("{}: ours {}; its {}", text_of(row, "part"), text_of(row, "ours"),
                                  text_of(row, "theirs")),
                      4);
  return text.empty() ? text : line("what does not fit") + text;
}

std::string messages(const json& rows) {
  if (rows.empty()) return {};
  std::string text = line("the last messages");
  for (const json& row : rows) {
    std::string words = fmt::format("{} ago {} {} {} {}: {}", ago(row, "seconds_ago"),
                                    text_of(row, "direction"), text_of(row, "exchange"), text_of(row, "kind"),
                                    row.value("message_id", 0U), text_of(row, "payloads"));
    std::string notifies;
    for (const json& name : row.at("notifies"))
      notifies += (notifies.empty() ? "" : ", ") + name.get<std::string>();
    if (!notifies.empty()) words += fmt::format(" ({})", notifies);
    if (const unsigned repeats = row.value("repeats", 0U); repeats != 0)
      words += fmt::format(", sent {} times", repeats + 1);
    text += wrapped(words, 4);
  }
  return text;
}

std::string advice(const char* title, const json& lines) {
  if (lines.empty()) return {};
  std::string text = line(title);
  for (const json& words : lines) text += wrapped(words.get<std::string>(), 4);
  return text;
}

}  // namespace

std::string render_explanation(const json& data) {
  std::string text = state_line(data);
  if (const std::string error = text_of(data, "last_error"); !error.empty())
    text += line(fmt::format("why ({} ago)", ago(data, "last_error_seconds_ago"))) + wrapped(error, 4);
  if (const std::string words = text_of(data, "one_way"); !words.empty())
    text += line("but") + wrapped(words, 4);
  if (text_of(data, "keys") == "manual") text += wrapped("manual keys: nothing is negotiated", 4);
  if (data.contains("compared")) text += compared(data.at("compared"));
  text +=
      advice("what to change here", data.at("here")) + advice("what to change at the peer", data.at("there"));
  if (data.contains("ours")) text += both_sides(data);
  if (data.contains("messages")) text += messages(data.at("messages"));
  return text;
}

std::string render_ike_counters(const json& data) {
  std::string text =
      line(fmt::format("{} {} {}", left("NOTIFY", 32), right("SENT", 8), right("RECEIVED", 8)));
  for (const json& row : data)
    text += line(fmt::format("{} {} {}", left(text_of(row, "notify"), 32),
                             right(short_number(row.value("sent", std::uint64_t{0})), 8),
                             right(short_number(row.value("received", std::uint64_t{0})), 8)));
  return data.empty() ? "no notify was sent or received\n" : text;
}

}  // namespace espgate::control
