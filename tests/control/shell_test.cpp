// The command table, its answers and their text, over a gateway with a tunnel that is up.
#include <catch2/catch.hpp>
#include <set>
#include <sstream>

#include "control/shell/commands.hpp"
#include "control/shell/render.hpp"
#include "control/shell/server.hpp"
#include "control/shell/text.hpp"
#include "tests/control/gateway_pair.hpp"

using namespace espgate;
using namespace espgate::test;
using control::CommandError;
using control::match_command;
using control::split_words;
using nlohmann::json;

namespace {

json ask(Pair& pair, const std::string& command, bool as_json) {
  const json request{{"command", command}, {"json", as_json}};
  return json::parse(control::answer_line(*pair.west.gateway, request.dump(), pair.now));
}

json data_of(Pair& pair, const std::string& command) {
  const json answer = ask(pair, command, true);
  INFO(answer.dump());
  REQUIRE(answer.at("status") == 0);
  return answer.at("data");
}

std::string error_of(Pair& pair, const std::string& command) {
  const json answer = ask(pair, command, false);
  REQUIRE(answer.at("status") == 1);
  return answer.at("text");
}

void check_columns(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    INFO(line);
    CHECK(line.size() <= control::kColumns);
    CHECK((line.empty() || line.back() != ' '));
  }
  CHECK((text.empty() || text.back() == '\n'));
}

std::string name_matched(const std::string& line) {
  return std::string(match_command(split_words(line)).command->words);
}

struct Up : Pair {
  Up() {
    west.configuration.ports.resize(1);
    west.configuration.ports[0].name = "wan";
    west.configuration.ports[0].device = "af_packet:wan0";
    west.configuration.ports[0].addresses = {*parse_prefix("192.0.2.1/24")};
    conf::Group group;
    group.name = "pair";
    group.members = {{.tunnel = "to-east", .via = {}}};
    west.configuration.groups.push_back(group);
    conf::Route route;
    route.to = *parse_prefix("10.2.0.0/16");
    route.group = "pair";
    west.configuration.routes.push_back(route);
    start();
    run(1s);
  }
};

}  // namespace

TEST_CASE("every command has help, a handler and a text, and none begins with another", "[shell]") {
  std::set<std::string_view> seen;
  for (const control::ShellCommand& command : control::shell_commands()) {
    CHECK_FALSE(command.help.empty());
    CHECK(command.data != nullptr);
    CHECK(command.text != nullptr);
    for (const std::string_view other : seen) {
      CHECK_FALSE((std::string(command.words) + " ").starts_with(std::string(other) + " "));
      CHECK_FALSE((std::string(other) + " ").starts_with(std::string(command.words) + " "));
    }
    seen.insert(command.words);
  }
  check_columns(control::help_text({}));
}

TEST_CASE("words may be cut short while it is clear what is meant", "[shell]") {
  CHECK(name_matched("show tunnels") == "show tunnels");
  CHECK(name_matched("sh tun") == "show tunnels");
  CHECK(name_matched("s ip s") == "show ipsec sa");
  CHECK(name_matched("show ike sa") == "show ike sa");
  CHECK(name_matched("mon") == "monitor");
  const control::Matched matched = match_command(split_words("reset t east"));
  CHECK(matched.command->words == "reset tunnel");
  CHECK(matched.arguments == control::Arguments{"east"});
}

TEST_CASE("what is not clear is answered with the choices", "[shell]") {
  CHECK_THROWS_WITH(name_matched("show i"), Catch::Contains("ike or interfaces or ipsec"));
  CHECK_THROWS_WITH(name_matched("re tunnel x"), Catch::Contains("rekey or reset"));
  CHECK_THROWS_WITH(name_matched("show"), Catch::Contains("another word") && Catch::Contains("tunnels"));
  CHECK_THROWS_WITH(name_matched("frobnicate"), Catch::Contains("no such command"));
  CHECK_THROWS_WITH(name_matched("show \x1b[2J"), Catch::Contains("\\x1b"));
  CHECK_THROWS_AS(name_matched(""), CommandError);
}

TEST_CASE("completion offers words, and names where a name is wanted", "[shell]") {
  Up pair;
  const conf::Configuration& configuration = pair.west.configuration;
  CHECK(control::complete("sh", configuration) == std::vector<std::string>{"show"});
  CHECK(control::complete("show i", configuration) == std::vector<std::string>{"ike", "interfaces", "ipsec"});
  CHECK(control::complete("reset tunnel ", configuration) == std::vector<std::string>{"to-east"});
  CHECK(control::complete("reset tunnel to", configuration) == std::vector<std::string>{"to-east"});
  CHECK(control::complete("show log tunnel ", configuration) == std::vector<std::string>{"to-east"});
  CHECK(control::complete("nonsense x", configuration).empty());
  CHECK(control::complete("", configuration).size() >= 4);
}

TEST_CASE("every command answers, in data and in text of 80 columns", "[shell]") {
  Up pair;
  for (const control::ShellCommand& command : control::shell_commands()) {
    std::string line(command.words);
    if (command.arguments == "NAME") line += command.words == "show group" ? " pair" : " to-east";
    if (command.words == "mirror") line += " off";
    INFO(line);
    const json answer = ask(pair, line, false);
    CHECK(answer.at("status") == 0);
    CHECK(answer.at("command") == command.words);
    check_columns(answer.at("text"));
    pair.run(500ms);
    CHECK(ask(pair, line, true).contains("data"));
    pair.run(500ms);
  }
}

TEST_CASE("the longest names, numbers and errors keep to 80 columns", "[shell]") {
  const std::string name(31, 'n');
  const std::string v6 = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff";
  const std::uint64_t huge = ~std::uint64_t{0};
  const json traffic{{"rx_packets", huge}, {"rx_bytes", huge}, {"rx_ipsec", huge},  {"tx_packets", huge},
                     {"tx_bytes", huge},   {"tx_ipsec", huge}, {"rx_crypto", huge}, {"tx_crypto", huge}};
  json tunnel{{"name", name},
              {"state", "connecting"},
              {"interface", name},
              {"local", v6},
              {"remote", v6},
              {"adopted", true},
              {"since_seconds", 100'000'000},
              {"cut_before", huge},
              {"cut_after", huge},
              {"attempts", 4'000'000'000U},
              {"last_error", std::string(300, 'e') + " and more words"},
              {"last_error_seconds_ago", 100'000'000},
              {"retry_in_seconds", 60}};
  tunnel.update(traffic);
  check_columns(control::render_tunnels(json::array({tunnel})));
  check_columns(
      control::render_unknown_spis({{"sources", json::array({{{"source", v6},
                                                              {"packets", huge},
                                                              {"last_spi", "ffffffff"},
                                                              {"first_seen_seconds_ago", 100'000'000},
                                                              {"last_seen_seconds_ago", 100'000'000}}})},
                                    {"other_packets", huge}}));
  check_columns(control::render_ike_counters(json::array(
      {{{"notify", "NAT_DETECTION_DESTINATION_IP_AND_MORE"}, {"sent", huge}, {"received", huge}}})));
  const json message{{"seconds_ago", 100'000'000},
                     {"direction", "received"},
                     {"exchange", "CREATE_CHILD_SA"},
                     {"kind", "response"},
                     {"message_id", 4'000'000'000U},
                     {"payloads", std::string(200, 'p')},
                     {"notifies", {std::string(40, 'N'), std::string(40, 'M')}},
                     {"repeats", 5}};
  check_columns(
      control::render_explanation({{"tunnel", name},
                                   {"state", "connecting"},
                                   {"since_seconds", 100'000'000},
                                   {"keys", "ike"},
                                   {"attempts", 4'000'000'000U},
                                   {"retry_in_seconds", 60},
                                   {"last_error", std::string(300, 'e') + " and more words"},
                                   {"last_error_seconds_ago", 7},
                                   {"one_way", std::string(90, 'o')},
                                   {"ours", {{"local", v6}, {"remote", v6}, {"ike", std::string(300, 'i')}}},
                                   {"theirs", {{"peer_id", std::string(600, 'i')}, {"nat_local", true}}},
                                   {"compared", json::array({{{"part", "IKE DH group"},
                                                              {"ours", std::string(90, 'a')},
                                                              {"theirs", std::string(90, 'b')},
                                                              {"fits", false}}})},
                                   {"messages", json::array({message})},
                                   {"here", {std::string(200, 'h')}},
                                   {"there", {std::string(200, 't')}}}));
  check_columns(control::render_ike_sa(json::array({{{"tunnel", name},
                                                     {"software", std::string(60, 's')},
                                                     {"state", "established"},
                                                     {"role", "initiator"},
                                                     {"established_seconds", 100'000'000},
                                                     {"rekey_in_seconds", -100'000'000},
                                                     {"children", huge},
                                                     {"local", v6 + ":4500"},
                                                     {"remote", v6 + ":4500"},
                                                     {"local_id", std::string(256, 'i')},
                                                     {"remote_id", std::string(256, 'j')},
                                                     {"initiator_spi", std::string(16, 'f')},
                                                     {"responder_spi", std::string(16, 'f')},
                                                     {"algorithms", std::string(60, 'a')},
                                                     {"nat_local", true}}})));
  check_columns(control::render_ipsec_sa(json::array({{{"tunnel", name},
                                                       {"inbound_spi", "ffffffff"},
                                                       {"outbound_spi", "ffffffff"},
                                                       {"inbound_installed", true},
                                                       {"outbound_installed", true},
                                                       {"suite", "aes256-sha256"},
                                                       {"age_seconds", 100'000'000},
                                                       {"rekey_in_seconds", 1},
                                                       {"expires_in_seconds", 2},
                                                       {"inbound_packets", huge},
                                                       {"inbound_bytes", huge},
                                                       {"inbound_sequence", huge},
                                                       {"replayed", huge},
                                                       {"rx_ipsec", huge},
                                                       {"tx_ipsec", huge},
                                                       {"rx_crypto", huge},
                                                       {"tx_crypto", huge},
                                                       {"integrity_failed", huge},
                                                       {"outbound_packets", huge},
                                                       {"outbound_bytes", huge},
                                                       {"outbound_sequence", huge},
                                                       {"local", v6},
                                                       {"remote", v6},
                                                       {"udp_encapsulation", true},
                                                       {"adopted", true},
                                                       {"local_selectors", {v6 + "-" + v6, v6 + "-" + v6}},
                                                       {"remote_selectors", {v6 + "-" + v6}}}})));
  json interface {
    {"name", name}, {"kind", "tunnel"}, {"state", "missing"}, {"mtu", 65535}, {"missed", huge},
        {"mac", "02:00:00:00:00:01"}, {
      "addresses", { v6 + "/128", v6 + "/128", v6 + "/128" }
    }
  };
  interface.update(traffic);
  check_columns(control::render_interfaces(json::array({interface})));
  check_columns(control::render_crypto_devices(json::array({{{"name", name},
                                                             {"driver", name},
                                                             {"state", "given up"},
                                                             {"suites", std::string(60, 's') + ", " + name},
                                                             {"sessions", 4095},
                                                             {"most_sessions", 4095},
                                                             {"opened", huge},
                                                             {"sealed", huge},
                                                             {"failed", huge},
                                                             {"lost", huge}}})));
  check_columns(control::render_routes(json::array({{{"destination", v6 + "/128"},
                                                     {"kind", "blackhole"},
                                                     {"target", v6},
                                                     {"refused", std::string(120, 'r')}}})));
  json before{{"interfaces", json::array({interface})}, {"drops", 0}, {"time_ns", 0}};
  json after = before;
  after["time_ns"] = 1'000'000'000;
  check_columns(control::render_totals(before));
  check_columns(control::render_rates(before, after));
  check_columns(control::render_log({{"lines", {std::string(500, 'l')}}}));
}

TEST_CASE("show tunnels and show ipsec sa tell what the counters page counts", "[shell]") {
  Up pair;
  channel::CountersPage& page = pair.west.dataplane.page();
  page.tunnels()[0].rx_packets = 11;
  page.tunnels()[0].tx_bytes = 700;
  page.tunnels()[0].cut_before = 3;
  page.tunnels()[0].cut_after = 4;
  page.header().main_thread.reassembled = 6;
  for (const std::uint64_t ns : {4'900'000, 5'000'000, 21'900'000, 20'000'000, 7'000'000})
    channel::note_pause(page.header().main_thread, ns);
  const std::uint32_t spi = pair.west.dataplane.inbound.begin()->first;
  channel::SaStatus& inbound = page.inbound(channel::spi_worker(spi))[channel::spi_slot(spi)];
  inbound.spi = spi;
  inbound.packets = 11;
  inbound.replayed = 2;
  inbound.by_card = 5;
  inbound.by_device = 3;
  channel::SaStatus& outbound = page.outbound(1)[3];
  outbound.spi = pair.west.dataplane.sending.at(0);
  outbound.bytes = 4000;

  const json tunnel = data_of(pair, "show tunnels").at(0);
  CHECK(tunnel.at("name") == "to-east");
  CHECK(tunnel.at("state") == "up");
  CHECK(tunnel.at("rx_packets") == 11);
  CHECK(tunnel.at("tx_bytes") == 700);
  CHECK(tunnel.at("cut_before") == 3);
  CHECK(tunnel.at("cut_after") == 4);
  const json version = data_of(pair, "show version");
  CHECK(version.at("reassembled") == 6);
  CHECK(version.at("main_thread") == json{{"longest_pause_ms", 21}, {"long_pauses", 2}});
  CHECK(version.at("workers").at(0).at("long_pauses") == 0);
  CHECK(tunnel.at("last_error") == "");
  const json sa = data_of(pair, "show ipsec sa").at(0);
  CHECK(sa.at("tunnel") == "to-east");
  CHECK(std::stoul(sa.at("inbound_spi").get<std::string>(), nullptr, 16) == spi);
  CHECK(sa.at("suite") == "aes128gcm16");
  CHECK(sa.at("inbound_packets") == 11);
  CHECK(sa.at("replayed") == 2);
  CHECK(sa.at("rx_ipsec") == 5);
  CHECK(sa.at("rx_crypto") == 3);
  CHECK(sa.at("tx_crypto") == 0);
  CHECK(sa.at("tx_ipsec") == 0);
  CHECK(sa.at("outbound_bytes") == 4000);
  CHECK(sa.at("adopted") == false);
  CHECK(sa.at("local_selectors") == json::array({"0.0.0.0/0"}));
}

TEST_CASE("show drops has every reason, or only those that happened", "[shell]") {
  Up pair;
  CHECK(data_of(pair, "show drops").size() == channel::kDropReasons + 2);  // IKE's own
  CHECK(data_of(pair, "show drops --nonzero").empty());
  pair.west.dataplane.page().worker(1).drops[static_cast<std::size_t>(channel::DropReason::integrity)] = 3;
  const json rows = data_of(pair, "show drops --nonzero");
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].at("name") == "integrity");
  CHECK(rows[0].at("count") == 3);
  CHECK_FALSE(rows[0].at("help").get<std::string>().empty());
}

TEST_CASE("a route that the dataplane refused says why", "[shell]") {
  Pair pair;
  conf::Route route;
  route.to = *parse_prefix("10.9.0.0/16");
  route.via = *parse_address("203.0.113.1");
  pair.west.configuration.routes.push_back(route);
  pair.west.dataplane.refuse[CommandKind::set_route] = CommandStatus::unreachable;
  pair.start();
  pair.run(100ms);
  const json routes = data_of(pair, "show routes");
  CHECK(routes.back().at("refused") == channel::words(CommandStatus::unreachable));
}

TEST_CASE("mirror: of a port or a tunnel's interface, or words", "[shell]") {
  Up pair;
  const std::string port = pair.west.gateway->configuration().ports[0].name;
  const std::string interface = pair.west.gateway->configuration().tunnels[0].interface;
  CHECK(data_of(pair, "mirror " + port).at("mirror") == port + "-m");
  CHECK(data_of(pair, "mirror " + interface).at("mirror") == interface + "-m");
  CHECK(data_of(pair, "mirror off").at("done") == "nothing is mirrored");
  CHECK(error_of(pair, "mirror").find("which interface") != std::string::npos);
  CHECK(error_of(pair, "mirror nobody").find("there is no interface \"nobody\"") != std::string::npos);
}

TEST_CASE("learned routes that are held back are told of and shown", "[shell]") {
  Up pair;
  const auto tell = [&](const char* far_end) {
    channel::Event event{};
    event.kind = channel::EventKind::route_held;
    event.body.route_held = {*parse_prefix("203.0.113.0/24"), {}, kMainTable};
    if (far_end != nullptr) event.body.route_held.far_end = *parse_address(far_end);
    pair.west.gateway->event(event);
  };
  const conf::Tunnel& tunnel = pair.west.gateway->configuration().tunnels[0];
  tell(to_string(tunnel.remote).c_str());
  const json row = data_of(pair, "show routes").back();
  CHECK(row.at("destination") == "203.0.113.0/24");
  CHECK(row.at("kind") == "learned");
  CHECK(row.at("held") == "it would lead to " + to_string(tunnel.remote) + ", the far end of tunnel " +
                              tunnel.name + ", by a tunnel");
  const json lines = data_of(pair, "show log -n 1").at("lines");
  CHECK(lines[0].get<std::string>().find("the learned route to 203.0.113.0/24 is held back: it would") !=
        std::string::npos);
  CHECK(ask(pair, "show routes", false).at("text").get<std::string>().find("held back: it would lead") !=
        std::string::npos);
  tell(nullptr);
  CHECK_FALSE(data_of(pair, "show routes").back().contains("held"));
}

TEST_CASE("arguments that make no sense are answered in words", "[shell]") {
  Up pair;
  CHECK(error_of(pair, "reset tunnel").find("which tunnel") != std::string::npos);
  CHECK(error_of(pair, "reset tunnel nobody").find("no tunnel \"nobody\"") != std::string::npos);
  CHECK(error_of(pair, "rekey tunnel to-east more").find("no more") != std::string::npos);
  CHECK(error_of(pair, "show log -n many").find("not a number") != std::string::npos);
  CHECK(error_of(pair, "show interfaces now").find("\"now\"") != std::string::npos);
}

TEST_CASE("show log: the newest lines, of one tunnel if wanted", "[shell]") {
  Up pair;
  CHECK(data_of(pair, "show log -n 1").at("lines").size() == 1);
  const json lines = data_of(pair, "show log tunnel to-east").at("lines");
  REQUIRE_FALSE(lines.empty());
  for (const json& line : lines) CHECK(line.get<std::string>().find("to-east: ") != std::string::npos);
}

TEST_CASE("show crypto-devices tells of those that the dataplane has", "[shell]") {
  Up pair;
  CHECK(data_of(pair, "show crypto-devices").empty());
  channel::CryptoDeviceStatus& status = pair.west.dataplane.page().header().crypto_devices[0];
  std::string("crypto_openssl0").copy(status.name.data(), status.name.size() - 1);
  std::string("aes128gcm16, aes256gcm16").copy(status.suites.data(), status.suites.size() - 1);
  status.state = channel::CryptoDeviceState::given_up;
  status.sessions = 2;
  pair.west.dataplane.page().worker(0).crypto_devices[0].lost = 7;
  const json row = data_of(pair, "show crypto-devices").at(0);
  CHECK(row.at("name") == "crypto_openssl0");
  CHECK(row.at("suites") == "aes128gcm16, aes256gcm16");
  CHECK(row.at("state") == "given up");
  CHECK(row.at("sessions") == 2);
  CHECK(row.at("lost") == 7);
  CHECK_THAT(control::render_crypto_devices(data_of(pair, "show crypto-devices")), Catch::Contains("lost 7"));
}

TEST_CASE("a group: what the dataplane says of its members", "[shell]") {
  Up pair;
  channel::GroupMemberStatus& member = pair.west.dataplane.page().group(0).members[0];
  CHECK(data_of(pair, "show groups").at(0).at("members_up") == 0);
  CHECK(data_of(pair, "show group pair").at("members").at(0).at("state") == "not known to the dataplane");
  member.buckets = 512;
  member.packets = 123456;
  const std::pair<channel::MemberState, std::string> kStates[] = {
      {channel::MemberState::up, "up"},
      {channel::MemberState::no_tunnel, "not known to the dataplane"},
      {channel::MemberState::no_sa, "down: no SA to send on"},
      {channel::MemberState::no_route, "down: no route to the far end"},
      {channel::MemberState::port_down, "down: the port is down"},
      {channel::MemberState::no_neighbour, "down: no answer to ARP or ND"},
      {static_cast<channel::MemberState>(77), "not known to the dataplane"}};
  for (const auto& [state, words] : kStates) {
    member.state = state;
    const json group = data_of(pair, "show group pair");
    CHECK(group.at("members").at(0).at("state") == words);
    CHECK(group.at("members_up") == (state == channel::MemberState::up ? 1 : 0));
    check_columns(control::render_group(group));
    check_columns(control::render_groups(data_of(pair, "show groups")));
  }
  const json row = data_of(pair, "show group pair").at("members").at(0);
  CHECK(row.at("name") == "to-east");
  CHECK(row.at("kind") == "tunnel");
  CHECK(row.at("weight") == 1);
  CHECK(row.at("priority") == 1);
  CHECK(row.at("buckets") == 512);
  CHECK(row.at("packets") == 123456);
  CHECK_THAT(error_of(pair, "show group"), Catch::Contains("one group's name is wanted"));
  CHECK_THAT(error_of(pair, "show group pear"), Catch::Contains("there is no group \"pear\""));
  CHECK(control::complete("show group p", pair.west.configuration) == std::vector<std::string>{"pair"});
}

TEST_CASE("without a dataplane the commands say so; log, version and help still answer", "[shell]") {
  Up pair;
  pair.west.link.detach();
  pair.west.gateway->detached("it ended, or closed the channel", pair.now);
  for (const std::string command :
       {"show tunnels", "show ike sa", "show ipsec sa", "show interfaces", "show routes", "show drops",
        "show groups", "reset tunnel to-east", "monitor"})
    CHECK(error_of(pair, command).starts_with("the dataplane is not attached: it ended"));
  for (const std::string command : {"show log", "show version", "help"})
    CHECK(ask(pair, command, false).at("status") == 0);
}

TEST_CASE("? lists what may follow", "[shell]") {
  Up pair;
  const std::string text = ask(pair, "show i?", false).at("text");
  CHECK(text.find("show ike sa") != std::string::npos);
  CHECK(text.find("show tunnels") == std::string::npos);
}
