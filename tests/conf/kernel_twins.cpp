// Twins of the interfaces in the kernel: their names, and what can't be one.
#include <catch2/catch.hpp>
#include <string>

#include "conf/load.hpp"
#include "tests/conf/base.hpp"

using namespace espgate::conf;

namespace {

std::string words_of(const std::string& text) {
  try {
    (void)load_text(text, "gw.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::string port(const std::string& device, const std::string& kernel) {
  return "  - {name: wan, device: \"" + device + "\", addresses: [192.0.2.1/24], kernel: " + kernel + "}";
}

}  // namespace

TEST_CASE("a twin has the interface's name, or one of its own") {
  const auto tunnel = [](const std::string& interface) {
    return load_text(tests::with_line(9, "    interface: {" + interface + "}"), "gw.yaml").tunnels[0].kernel;
  };
  CHECK(tunnel("name: vti-a").empty());
  CHECK(tunnel("name: vti-a, kernel: false").empty());
  CHECK(tunnel("name: vti-a, kernel: true") == "vti-a");
  CHECK(tunnel("kernel: true") == "west-a");
  CHECK(tunnel("name: vti-a, kernel: cloud") == "cloud");
  const Configuration c = load_text(tests::with_line(3, port("af_packet:wan", "esp-wan")), "gw.yaml");
  CHECK(c.ports[0].kernel.empty());
  CHECK(c.ports[1].kernel == "esp-wan");
}

TEST_CASE("twins that can't be, in words") {
  CHECK(
      words_of(tests::with_line(3, port("af_packet:wan", "true"))) ==
      "gw.yaml:3:77: kernel: \"wan\" is the kernel's own interface, which is the device of \"wan\"; expected "
      "another name for the twin, such as \"esp-wan\"");
  CHECK(words_of(tests::with_line(3, port("net_null0", "lo"))) ==
        "gw.yaml:3:73: kernel: \"lo\" is the loopback interface; expected another name for the twin, such as "
        "\"esp-lo\"");
  CHECK(
      words_of(tests::with_line(3, port("net_null0", "vti-a-and-a-half"))) ==
      "gw.yaml:3:73: kernel: \"vti-a-and-a-half\" is too long for the kernel; expected a name of at most 15 "
      "characters for the twin");
  CHECK(words_of(tests::with_line(9, "    interface: {name: vti-of-a-cloud-so-far, kernel: true}")) ==
        "gw.yaml:9:54: kernel: \"vti-of-a-cloud-so-far\" is too long for the kernel; expected a name of at "
        "most "
        "15 characters for the twin");
  CHECK(words_of(tests::with_line(3, port("net_null0", "a/b"))) ==
        "gw.yaml:3:73: kernel: expected a name of 1 to 31 letters, digits, '-', '_' or '.', not \"a/b\"");
  CHECK(words_of(tests::with_line(9, "    interface: {kernel: twin}") + "") == "accepted");
  std::string both = tests::with_line(9, "    interface: {kernel: twin}");
  both.replace(both.find("{name: vti-b"), 12, "{kernel: twin, name: vti-b");
  CHECK(
      words_of(both) ==
      "gw.yaml:14:25: kernel: \"twin\" is another interface's twin already, on line 9; expected another name "
      "for the twin, such as \"esp-twin\"");
  CHECK(words_of(tests::with_line(9, "    mode: transport\n    interface: {kernel: true}\n    esp: {}"))
            .find("kernel: a tunnel in transport mode has no interface") != std::string::npos);
}

TEST_CASE("A table's twins need a network namespace, and one of its own") {
  const auto with = [](const std::string& tables) {
    return words_of(tests::with_line(3,
                                     "  - {name: wan, device: \"af_packet:wan\", addresses: [192.0.2.1/24]}\n"
                                     "  - {name: red, device: net_null0, addresses: [192.0.2.1/24], "
                                     "table: red, kernel: true}") +
                    "tables: [" + tables + "]\n");
  };
  CHECK(with("{name: red}") ==
        "gw.yaml:4:83: kernel: table \"red\" has no network namespace for twins; "
        "expected `namespace` there");
  CHECK(with("{name: red, namespace: customer}") == "accepted");
  CHECK(with("{name: red, namespace: a}, {name: blue, namespace: a}") ==
        "gw.yaml:21:61: namespace: \"a\" is table \"red\"'s already");
}
