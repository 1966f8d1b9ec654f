// `explain tunnel NAME`: why it is not up, or what is wrong though it is.
#include <fmt/format.h>

#include <algorithm>

#include "control/ike/identity.hpp"
#include "control/ike/ppk.hpp"
#include "control/ike/proposal_choice.hpp"
#include "control/ike/selectors.hpp"
#include "control/shell/show.hpp"
#include "control/shell/show_common.hpp"
#include "control/tunnels/advice.hpp"
#include "control/tunnels/printable.hpp"

namespace espgate::control {
namespace {

json texts(const std::vector<std::string>& lines) {
  json out = json::array();
  for (const std::string& text : lines) out.push_back(printable(text));
  return out;
}

// "required: "a1" (has expired on ...), "a2""
std::string ppks_of(const conf::Tunnel& tunnel) {
  const std::int64_t now = std::time(nullptr);
  std::vector<std::string> names;
  for (const conf::Ppk& ppk : tunnel.ppks) {
    const std::string why = ike::ppk_objection(ppk, now);
    names.push_back(ike::ppk_words(ppk) + (why.empty() ? "" : fmt::format(" ({})", why)));
  }
  const bool required = tunnel.ppk_use == conf::PpkUse::required;
  return fmt::format("{}: {}", required ? "required" : "optional", fmt::join(names, ", "));
}

// Whose IKE SA the tunnel has.
const conf::Tunnel& ike_side(const Gateway& gateway, const conf::Tunnel& tunnel) {
  return tunnel.parent_index ? gateway.configuration().tunnels[*tunnel.parent_index] : tunnel;
}

json ours_of(const conf::Tunnel& tunnel, const conf::Tunnel& parent, const std::string& remote) {
  json row{{"local", to_string(tunnel.local)},
           {"remote", remote},
           {"local_id", printable(ike::words(tunnel.local_id))},
           {"remote_id", printable(ike::words(tunnel.remote_id))},
           {"ike", describe(ike::offer_ike(parent.ike_proposals, {}))},
           {"esp", describe(ike::offer_esp(tunnel.esp_proposals, 0, true))},
           {"local_selectors", words(ike::selectors_of(tunnel.local_selectors))},
           {"remote_selectors", words(ike::selectors_of(tunnel.remote_selectors))}};
  if (!parent.ppks.empty()) row["ppks"] = ppks_of(parent);
  return row;
}

// What the peer said of itself since the tunnel was last up.
json theirs_of(const ike::Heard* heard) {
  json row = json::object();
  if (heard == nullptr) return row;
  if (heard->ike) row[heard->offered_ike ? "ike" : "ike_chosen"] = describe(*heard->ike);
  if (heard->esp) row[heard->offered_esp ? "esp" : "esp_chosen"] = describe(*heard->esp);
  if (heard->peer_id) row["peer_id"] = words(*heard->peer_id);
  if (heard->our_id) row["our_id"] = words(*heard->our_id);
  if (!heard->their_selectors.empty()) row["peer_selectors"] = words(heard->their_selectors);
  if (!heard->our_selectors.empty()) row["our_selectors"] = words(heard->our_selectors);
  if (heard->error) row["error"] = name_of(*heard->error);
  row["nat_local"] = heard->nat_local;
  row["nat_remote"] = heard->nat_remote;
  return row;
}

void compare_proposals(const char* what, const ike::SaPayload& theirs, const ike::SaPayload& ours,
                       json& rows) {
  for (const ike::Compared& part : ike::compare(theirs, ours))
    rows.push_back({{"part", fmt::format("{} {}", what, part.kind)},
                    {"ours", part.ours},
                    {"theirs", part.theirs},
                    {"fits", part.common}});
}

void compare_text(const char* part, std::string ours, std::string theirs, bool fits, json& rows) {
  rows.push_back({{"part", part}, {"ours", printable(ours)}, {"theirs", printable(theirs)}, {"fits", fits}});
}

// Part by part, what is known of both sides.
json comparison(const conf::Tunnel& tunnel, const ike::Heard* heard, ike::Failure failure) {
  json rows = json::array();
  if (heard == nullptr) return rows;
  if (heard->ike && heard->offered_ike)
    compare_proposals("IKE", *heard->ike, ike::offer_ike(tunnel.ike_proposals, {}), rows);
  // In IKE_AUTH no groups are offered.
  if (heard->esp && heard->offered_esp)
    compare_proposals("ESP", *heard->esp, ike::offer_esp(tunnel.esp_proposals, 0, heard->pfs), rows);
  if (heard->peer_id)
    compare_text("the peer's identity", ike::words(tunnel.remote_id), words(*heard->peer_id),
                 is_identity(*heard->peer_id, tunnel.remote_id), rows);
  if (heard->our_id)
    compare_text("our identity", ike::words(tunnel.local_id), words(*heard->our_id),
                 is_identity(*heard->our_id, tunnel.local_id), rows);
  const auto compare_selectors = [&rows](const char* part, const auto& prefixes,
                                         const ike::Selectors& theirs) {
    const ike::Selectors ours = ike::selectors_of(prefixes);
    if (!theirs.empty())
      compare_text(part, words(ours), words(theirs), !ike::narrow(theirs, ours).empty(), rows);
  };
  compare_selectors("selectors, our side", tunnel.local_selectors, heard->our_selectors);
  compare_selectors("selectors, its side", tunnel.remote_selectors, heard->their_selectors);
  const bool secret = tunnel.local_auth.by == conf::Auth::psk || tunnel.remote_auth.by == conf::Auth::psk;
  if (failure == ike::Failure::authentication_failed && secret)
    compare_text("the secret", "(not shown)", "(not told)", false, rows);
  if (failure == ike::Failure::ppk_differs) compare_text("the PPK", "(not shown)", "(not told)", false, rows);
  return rows;
}

std::string payload_names(const ike::Told& told) {
  std::vector<std::string> names;
  for (unsigned bit = 0; bit < 32; ++bit)
    if ((told.payloads >> bit & 1U) != 0)
      names.push_back(ike::name_of(static_cast<ike::PayloadType>(33 + bit)));
  return fmt::format("{}", fmt::join(names, " "));
}

json message_row(const ike::Told& told, Time now) {
  json notifies = json::array();
  for (const ike::NotifyType type : told.notifies)
    if (type != ike::NotifyType{}) notifies.push_back(ike::name_of(type));
  return {{"seconds_ago", seconds_since(told.at, now)},
          {"direction", told.sent ? "sent" : "received"},
          {"exchange", ike::name_of(told.exchange)},
          {"kind", told.response ? "response" : "request"},
          {"message_id", told.message_id},
          {"payloads", payload_names(told)},
          {"notifies", std::move(notifies)},
          {"repeats", told.repeats}};
}

Carried carried_by(Gateway& gateway, TunnelId tunnel, Time now) {
  Carried carried;
  if (!gateway.link().attached()) return carried;
  const channel::CountersView& page = gateway.link().counters();
  const OutboundStatuses outbound(page, tunnel);
  for (const ChildRecord& record : gateway.book().of(tunnel)) {
    const channel::SaStatus* in = inbound_status(page, record.inbound_spi);
    const channel::SaStatus* out = outbound.find(tunnel, record.outbound_spi);
    if (in != nullptr) carried.in += read(in->packets);
    if (out != nullptr) carried.out += read(out->packets);
    carried.age = std::max(carried.age, std::chrono::seconds(seconds_since(record.installed, now)));
    carried.udp_encapsulation = record.udp_encapsulation;
  }
  return carried;
}

}  // namespace

json explain_tunnel(Gateway& gateway, const Arguments& arguments, Time now) {
  const TunnelId index = one_tunnel(gateway, arguments);
  const conf::Tunnel& tunnel = gateway.configuration().tunnels[index];
  const TunnelStatus& status = gateway.manager().status(index);
  json data{{"tunnel", printable(tunnel.name)},
            {"state", name_of(status.state)},
            {"since_seconds", seconds_since(status.since, now)},
            {"keys", tunnel.manual ? "manual" : "ike"},
            {"attempts", status.attempts},
            {"last_error", printable(status.last_error.summary)}};
  if (tunnel.parent_index) {
    data["parent"] = printable(tunnel.parent);
    data["parent_state"] = name_of(gateway.manager().status(*tunnel.parent_index).state);
  }
  if (status.retry_at)
    data["retry_in_seconds"] = std::max<std::int64_t>(0, seconds_since(now, *status.retry_at));
  const Carried carried = carried_by(gateway, index, now);
  const bool up = status.state == TunnelState::up;
  data["one_way"] = up ? one_way(carried) : std::string();
  Advice advice = up ? advice_one_way(carried, tunnel) : Advice{};
  if (!tunnel.manual) {
    const ike::Story& story = gateway.story(index);
    data["ours"] = ours_of(tunnel, ike_side(gateway, tunnel), gateway.remote_of(index));
    if (tunnel.first_slot) data["peer"] = printable(gateway.peer_of(index));
    data["theirs"] = theirs_of(story.heard());
    data["compared"] = comparison(tunnel, story.heard(), status.last_error.failure);
    data["messages"] = json::array();
    for (const ike::Told& told : story.messages()) data["messages"].push_back(message_row(told, now));
    if (!status.last_error.summary.empty()) {
      data["last_error_seconds_ago"] = seconds_since(status.last_error_at, now);
      const Advice more = advice_after(status.last_error, tunnel, story);
      advice.here.insert(advice.here.end(), more.here.begin(), more.here.end());
      advice.there.insert(advice.there.end(), more.there.begin(), more.there.end());
    }
  }
  data["here"] = texts(advice.here);
  data["there"] = texts(advice.there);
  return data;
}

}  // namespace espgate::control
