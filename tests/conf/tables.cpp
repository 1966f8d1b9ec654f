// Route tables: which names there are, what may be the same in two of them, and what may lead from one to
// another. And loopbacks.
#include <catch2/catch.hpp>
#include <string>

#include "tests/conf/base.hpp"

using namespace espgate;
using namespace espgate::conf;
using espgate::conf::tests::words_of;

namespace {

// Two tables with the same network, and a tunnel whose outside is in `inet` and whose inside is in `red`.
const std::string kBase = R"(tables:
  - {name: inet, max-routes: 100, namespace: inet}
  - {name: red}
loopbacks:
  - {name: lo1, addresses: [10.254.0.1/32, "fd00::1/128"], table: inet}
ports:
  - {name: lan, device: "af_packet:lan", addresses: [10.1.0.1/24], table: red}
  - {name: other, device: "af_packet:other", addresses: [10.1.0.1/24]}
  - {name: wan, device: "af_packet:wan", addresses: [192.0.2.1/24], table: inet, kernel: esp-wan}
tunnels:
  - name: a
    table: inet
    local: {address: 10.254.0.1}
    remote: {address: 198.51.100.1}
    psk: secret
    interface: {name: vti-a, table: red, addresses: [169.254.1.1/30]}
)";

std::string routes(const std::string& lines) { return kBase + "routes:\n" + lines + "\n"; }

std::string changed(const std::string& from, const std::string& to) {
  return words_of(tests::replaced(kBase, from, to));
}

}  // namespace

TEST_CASE("tables are numbered as they stand in the file, main first") {
  const Configuration c = load_text(routes("  - {to: 0.0.0.0/0, table: inet, via: 192.0.2.254}\n"
                                           "  - {to: 10.1.0.0/16, table: red, tunnel: a}\n"
                                           "  - {to: 10.9.0.0/16, via: 192.0.2.7, via-table: inet}"),
                                    "gw.yaml");
  REQUIRE(c.tables.size() == 2);
  CHECK(c.tables[0].max_routes == 100);
  CHECK(c.tables[1].max_routes == 1000);
  CHECK(c.loopbacks[0].table.id == 1);
  CHECK(c.ports[0].table.id == 2);
  CHECK(c.ports[1].table.id == kMainTable);
  CHECK(c.tunnels[0].table.id == 1);
  CHECK(c.tunnels[0].overlay.id == 2);
  CHECK(c.routes[0].table.id == 1);
  CHECK(c.routes[0].via_table.id == 1);
  CHECK(c.routes[1].via_table.id == 2);
  CHECK(c.routes[2].table.id == kMainTable);
  CHECK(c.routes[2].via_table.id == 1);
}

TEST_CASE("names of tables") {
  CHECK(words_of(kBase) == "accepted");
  CHECK(changed("table: red}", "table: rad}") ==
        "gw.yaml:7:75: no route table is named \"rad\"; did you mean \"red\"?");
  CHECK(changed("name: red}", "name: inet}")
            .starts_with("gw.yaml:3:12: a second route table is named \"inet\"; the first is on line 2"));
  CHECK(changed("{name: red}", "{name: main}")
            .starts_with("gw.yaml:3:12: name: main is there already; its size is dataplane's max-routes"));
  CHECK(words_of(routes("  - {to: 10.0.0.0/8, table: blue, blackhole: true}"))
            .find("no route table is named \"blue\"") != std::string::npos);
}

TEST_CASE("one network may be in two tables, and once in each") {
  CHECK(changed("addresses: [10.1.0.1/24]}", "addresses: [10.1.0.1/24], table: red}")
            .find("10.1.0.1/24 is the same address as 10.1.0.1/24 of \"lan\" on line 7") !=
        std::string::npos);
}

TEST_CASE("a tunnel ends at an address of its own table, of a port or a loopback") {
  CHECK(changed("    table: inet\n", "")
            .find("address: 10.254.0.1 is on no port or loopback of table \"main\"; the "
                  "IPv4 addresses there are: 10.1.0.1") != std::string::npos);
  CHECK(changed("address: 10.254.0.1", "address: 192.0.2.1") == "accepted");
  CHECK(changed("remote: {address: 198.51.100.1}", "remote: {address: 192.0.2.1}")
            .find("address: 192.0.2.1 is this gateway's own") != std::string::npos);
  CHECK(changed("10.254.0.1/32", "10.254.0.1/24")
            .find("addresses: expected an address alone, such as 10.254.0.1/32") != std::string::npos);
}

TEST_CASE("what leads to another table says so") {
  CHECK(words_of(routes("  - {to: 10.2.0.0/16, tunnel: a}")) ==
        "gw.yaml:18:31: tunnel: \"a\" has an interface in table \"red\", and the route is for table "
        "\"main\"; expected "
        "via-table: red, if it is to lead there");
  CHECK(words_of(routes("  - {to: 10.2.0.0/16, tunnel: a, via-table: red}")) == "accepted");
  CHECK(words_of(routes("  - {to: 10.2.0.0/16, via: 192.0.2.254}"))
            .find("via: 192.0.2.254 lies on no port's network of table \"main\"") != std::string::npos);
  CHECK(words_of(routes("  - {to: 10.2.0.0/16, via: 192.0.2.254, via-table: inet}")) == "accepted");
  CHECK(words_of(routes("  - {to: 10.2.0.0/16, blackhole: true, via-table: inet}"))
            .find("via-table: a blackhole leads nowhere") != std::string::npos);
  const std::string group = routes("  - {to: 10.2.0.0/16, group: g}") + "groups: [{name: g, tunnels: [a]}]\n";
  CHECK(words_of(group).find("group: \"g\" has an interface in table \"red\"") != std::string::npos);
}

TEST_CASE("one destination may have a route in each table") {
  const std::string one = "  - {to: 10.2.0.0/16, blackhole: true}\n";
  CHECK(words_of(routes(one + "  - {to: 10.2.0.0/16, blackhole: true, table: red}")) == "accepted");
  CHECK(words_of(routes(one + "  - {to: 10.2.0.0/16, blackhole: true}"))
            .find("a route's destination already, on line 18") != std::string::npos);
}

TEST_CASE("a far end to which nothing leads") {
  const std::string alone = [] {
    std::string text = kBase;
    return text.erase(text.find(", kernel: esp-wan"), 17);
  }();
  CHECK(words_of(alone) ==
        "gw.yaml:14:23: address: nothing of table \"inet\" leads to 198.51.100.1; expected a route to there, "
        "or "
        "a port of that table with a twin in the kernel, where a route could be learned");
  const auto with = [&](const std::string& route) {
    return words_of(alone + "routes:\n  - " + route + "\n");
  };
  CHECK(with("{to: 0.0.0.0/0, table: inet, via: 192.0.2.254}") == "accepted");
  CHECK(with("{to: 0.0.0.0/0, table: red, via: 10.1.0.9}").find("nothing of table") != std::string::npos);
  CHECK(
      with("{to: 198.51.100.0/24, table: inet, blackhole: true}") ==
      "gw.yaml:14:23: address: the way to 198.51.100.1 is the blackhole 198.51.100.0/24; expected a route by "
      "a port");
}

TEST_CASE("a tunnel is never the way to its own far end, nor to another's") {
  const std::string into = "  - {to: 0.0.0.0/0, table: inet, tunnel: a, via-table: red}";
  CHECK(words_of(routes(into))
            .find("to: 0.0.0.0/0 leads the packets to 198.51.100.1, the far end of tunnel \"a\", into that "
                  "tunnel itself; "
                  "expected a longer prefix for the far end, by a port") != std::string::npos);
  CHECK(words_of(routes(into + "\n  - {to: 198.51.100.0/24, table: inet, via: 192.0.2.254}")) == "accepted");
  CHECK(words_of(routes("  - {to: 0.0.0.0/0, table: red, tunnel: a}")) == "accepted");
  const std::string second =
      "  - {name: b, table: inet, local: {address: 192.0.2.1}, remote: {address: 203.0.113.1}, psk: x,\n"
      "     interface: {table: inet, addresses: [198.51.100.2/24]}}\n";
  CHECK(words_of(kBase + second).find("address: 198.51.100.1 lies on the network of the interface \"b\"") !=
        std::string::npos);
  const std::string other =
      "  - {name: b, table: inet, local: {address: 192.0.2.1}, remote: {address: 203.0.113.1}, "
      "psk: x, interface: {table: inet}}\n";
  CHECK(words_of(kBase + other + "routes:\n  - {to: 198.51.100.0/24, table: inet, tunnel: b}\n")
            .find("into tunnel \"b\", and no tunnel goes through another") != std::string::npos);
}

TEST_CASE("transport mode is of one table") {
  const std::string tunnel =
      "  - {name: t, table: inet, mode: transport, local: {address: 192.0.2.1}, "
      "remote: {address: 203.0.113.1}, psk: x";
  CHECK(words_of(kBase + tunnel + "}\n") == "accepted");
  CHECK(words_of(kBase + tunnel + ", interface: {table: red}}\n")
            .find("table: in transport mode inner and outer packets are the same ones; expected \"inet\"") !=
        std::string::npos);
}

TEST_CASE("a table has room for its routes") {
  std::string many;
  for (int i = 0; i < 96; ++i)
    many += "  - {to: 10.2." + std::to_string(i) + ".0/24, table: inet, blackhole: true}\n";
  CHECK(words_of(routes(many)) == "accepted");
  many += "  - {to: 10.3.0.0/24, table: inet, blackhole: true}\n";
  CHECK(words_of(routes(many)).find("routes: expected at most 100 (max-routes of table \"inet\"") !=
        std::string::npos);
}
