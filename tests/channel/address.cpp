#include "channel/address.hpp"

#include <catch2/catch.hpp>

using namespace espgate;

TEST_CASE("addresses are read strictly and written in their canonical form") {
  struct Row {
    std::string_view text;
    const char* canonical;  // nullptr: no address
  };
  static constexpr Row rows[] = {
      {"192.0.2.1", "192.0.2.1"},
      {"0.0.0.0", "0.0.0.0"},
      {"255.255.255.255", "255.255.255.255"},
      {"::", "::"},
      {"FD00:0:0::1", "fd00::1"},
      {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
      {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
      {"", nullptr},
      {"1.2.3", nullptr},
      {"1.2.3.4.5", nullptr},
      {"1.2.3.256", nullptr},
      {"01.2.3.4", nullptr},
      {"1.2.3.4 ", nullptr},
      {" 1.2.3.4", nullptr},
      {"0x7f.0.0.1", nullptr},
      {"1.2.3.4/32", nullptr},
      {"fe80::1%eth0", nullptr},
      {"1::2::3", nullptr},
      {":::", nullptr},
      {"12345::", nullptr},
      {"host.example", nullptr},
      {std::string_view("1.2.3.4\0", 8), nullptr},
      {std::string_view("1.2.3.4\0.5", 10), nullptr},
      {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa", nullptr},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto address = parse_address(row.text);
    REQUIRE(address.has_value() == (row.canonical != nullptr));
    if (!address) continue;
    CHECK(to_string(*address) == row.canonical);
    CHECK(is_valid(*address));
  }
}

TEST_CASE("prefixes are read strictly") {
  struct Row {
    std::string_view text;
    const char* canonical;
  };
  static constexpr Row rows[] = {
      {"10.1.0.1/24", "10.1.0.1/24"},
      {"10.1.0.1", "10.1.0.1/32"},
      {"::/0", "::/0"},
      {"fd00::1", "fd00::1/128"},
      {"fd00::/128", "fd00::/128"},
      {"0.0.0.0/0", "0.0.0.0/0"},
      {"10.0.0.0/33", nullptr},
      {"::/129", nullptr},
      {"10.0.0.0/", nullptr},
      {"10.0.0.0/-1", nullptr},
      {"10.0.0.0/+8", nullptr},
      {"10.0.0.0/08", nullptr},
      {"10.0.0.0/8 ", nullptr},
      {"10.0.0.0/8/8", nullptr},
      {"/8", nullptr},
      {"10.0.0.0/256", nullptr},
      {"10.0.0.0/4294967304", nullptr},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto prefix = parse_prefix(row.text);
    REQUIRE(prefix.has_value() == (row.canonical != nullptr));
    if (prefix) CHECK(to_string(*prefix) == row.canonical);
  }
}

TEST_CASE("what came from a slot is checked before it counts as an address") {
  IpAddress address = *parse_address("10.0.0.1");
  address.bytes[7] = 1;
  CHECK_FALSE(is_valid(address));
  CHECK_FALSE(is_valid(IpAddress{}));
  address.family = static_cast<Family>(5);
  CHECK_FALSE(is_valid(address));
  CHECK_FALSE(is_valid(IpPrefix{*parse_address("10.0.0.1"), 33}));
  CHECK(is_valid(IpPrefix{*parse_address("10.0.0.1"), 32}));
  CHECK_FALSE(is_valid(IpPrefix{*parse_address("::1"), 129}));
  CHECK(is_valid(IpPrefix{*parse_address("::1"), 128}));
}

TEST_CASE("networks, membership and overlap") {
  const auto prefix = [](std::string_view text) { return *parse_prefix(text); };
  const auto address = [](std::string_view text) { return *parse_address(text); };
  CHECK(to_string(network_of(prefix("10.1.255.255/18"))) == "10.1.192.0/18");
  CHECK(to_string(network_of(prefix("10.1.2.3/0"))) == "0.0.0.0/0");
  CHECK(to_string(network_of(prefix("10.1.2.3/32"))) == "10.1.2.3/32");
  CHECK(to_string(network_of(prefix("fd00:1:2:8003::9/49"))) == "fd00:1:2:8000::/49");
  CHECK(contains(prefix("10.1.0.1/24"), address("10.1.0.255")));
  CHECK_FALSE(contains(prefix("10.1.0.1/24"), address("10.1.1.0")));
  CHECK_FALSE(contains(prefix("0.0.0.0/0"), address("::")));
  CHECK(contains(prefix("::/0"), address("fd00::1")));
  CHECK(overlap(prefix("10.0.0.0/8"), prefix("10.9.0.0/16")));
  CHECK(overlap(prefix("10.9.0.0/16"), prefix("10.0.0.0/8")));
  CHECK_FALSE(overlap(prefix("10.0.0.0/30"), prefix("10.0.0.4/30")));
  CHECK_FALSE(overlap(prefix("0.0.0.0/0"), prefix("::/0")));
}

TEST_CASE("IPv4 in host order and back") {
  CHECK(v4_host_order(*parse_address("192.0.2.1")) == 0xc0000201);
  CHECK(v4_from_host_order(0xc0000201) == *parse_address("192.0.2.1"));
}

TEST_CASE("a range is made of prefixes, upwards and without gaps") {
  const auto words = [](const char* first, const char* last) {
    std::string text;
    for (const IpPrefix& prefix : prefixes_of(*parse_address(first), *parse_address(last)))
      text.append(to_string(prefix)).append(" ");
    text.pop_back();
    return text;
  };
  CHECK(words("10.64.0.0", "10.127.255.255") == "10.64.0.0/10");
  CHECK(words("10.0.0.1", "10.0.0.1") == "10.0.0.1/32");
  CHECK(words("10.0.0.3", "10.0.0.10") == "10.0.0.3/32 10.0.0.4/30 10.0.0.8/31 10.0.0.10/32");
  CHECK(words("0.0.0.0", "255.255.255.255") == "0.0.0.0/0");
  CHECK(words("255.255.255.254", "255.255.255.255") == "255.255.255.254/31");
  CHECK(words("10.0.0.255", "10.0.1.0") == "10.0.0.255/32 10.0.1.0/32");
  CHECK(words("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") == "::/0");
  CHECK(words("fd00::", "fd00::1:0") == "fd00::/112 fd00::1:0/128");
  CHECK(
      prefixes_of(*parse_address("::1"), *parse_address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe")).size() ==
      254);
}
