// The daemon's parts on their own: timers, selectors, cookies, NAT detection.
#include <catch2/catch.hpp>

#include "control/ike/exchange.hpp"
#include "control/ike/guards.hpp"
#include "control/ike/selectors.hpp"
#include "control/ike/timers.hpp"
#include "world.hpp"

namespace espgate::test {
namespace {

TEST_CASE("timers run in order, and cancelled ones not at all") {
  ike::Timers timers;
  std::string order;
  const auto run = [&](Time now) {
    while (const auto action = timers.take_due(now)) (*action)();
  };
  ike::Timer a(timers), b(timers), c(timers);
  {
    ike::Timer gone(timers);
    gone.set(kStart, [&] { order += "x"; });
  }
  a.set(kStart + seconds(2), [&] { order += "a"; });
  b.set(kStart + seconds(1), [&] { order += "b"; });
  c.set(kStart + seconds(1), [&] { order += "c"; });
  c.set(kStart + seconds(3), [&] { order += "C"; });
  CHECK(timers.next() == kStart + seconds(1));
  run(kStart + seconds(2));
  CHECK(order == "ba");
  CHECK(!a.pending());
  CHECK(c.pending());
  c.cancel();
  CHECK(!timers.next());
}

ike::Selectors prefixes(std::initializer_list<const char*> texts) {
  std::vector<IpPrefix> out;
  for (const char* text : texts) out.push_back(*parse_prefix(text));
  return ike::selectors_of(out);
}

TEST_CASE("narrowing takes what both allow") {
  CHECK(ike::narrow(prefixes({"0.0.0.0/0", "::/0"}), prefixes({"10.1.0.0/16"})) == prefixes({"10.1.0.0/16"}));
  CHECK(ike::narrow(prefixes({"10.0.0.0/8"}), prefixes({"0.0.0.0/0", "10.1.0.0/16"})) ==
        prefixes({"10.0.0.0/8", "10.1.0.0/16"}));
  CHECK(ike::narrow(prefixes({"10.1.0.0/16"}), prefixes({"10.2.0.0/16", "::/0"})).empty());
  ike::Selectors tcp = prefixes({"10.0.0.0/8"});
  tcp[0].protocol = 6;
  tcp[0].first_port = tcp[0].last_port = 80;
  CHECK(ike::narrow(tcp, prefixes({"10.1.0.0/16"}))[0].protocol == 6);
  CHECK(ike::words(ike::narrow(tcp, prefixes({"10.1.0.0/16"}))) == "10.1.0.0/16[6/80-80]");
  ike::Selectors udp = tcp;
  udp[0].protocol = 17;
  CHECK(ike::narrow(tcp, udp).empty());
  ike::Selectors opaque = tcp;
  opaque[0].first_port = 65535;
  opaque[0].last_port = 0;
  CHECK(ike::narrow(opaque, tcp).empty());
  CHECK(ike::narrow(opaque, prefixes({"10.1.0.0/16"}))[0].last_port == 0);
}

TEST_CASE("an answer must lie within the offer") {
  CHECK(ike::is_subset(prefixes({"10.1.0.0/16"}), prefixes({"0.0.0.0/0", "::/0"})));
  CHECK(!ike::is_subset(prefixes({"10.0.0.0/8"}), prefixes({"10.1.0.0/16"})));
  CHECK(!ike::is_subset({}, prefixes({"10.1.0.0/16"})));
}

TEST_CASE("families that the other side lacks go") {
  ike::Selectors a = prefixes({"10.0.0.0/8", "2001:db8::/32"});
  ike::Selectors b = prefixes({"0.0.0.0/0"});
  ike::keep_common_families(a, b);
  CHECK(a == prefixes({"10.0.0.0/8"}));
  CHECK(b.size() == 1);
}

TEST_CASE("selectors in words") {
  CHECK(ike::words(prefixes({"0.0.0.0/0", "2001:db8::/32"})) == "0.0.0.0/0, 2001:db8::/32");
  ike::Selectors range = prefixes({"10.0.0.0/8"});
  range[0].last = address("10.0.0.9");
  CHECK(ike::words(range) == "10.0.0.0-10.0.0.9");
  CHECK(ike::words(ike::Selectors{}) == "none");
}

TEST_CASE("a cookie holds for its nonce, address, port and SPI, and for one change of the secret") {
  ike::CookieJar jar;
  const ByteVector nonce(32, 1), other(32, 2);
  const Endpoint peer{address("192.0.2.1"), 500};
  const ByteVector cookie = jar.bake(nonce, peer, 7, kStart);
  CHECK(cookie.size() <= 64);
  CHECK(jar.is_ours(cookie, nonce, peer, 7, kStart));
  CHECK(!jar.is_ours(cookie, other, peer, 7, kStart));
  CHECK(!jar.is_ours(cookie, nonce, {peer.address, 501}, 7, kStart));
  CHECK(!jar.is_ours(cookie, nonce, {address("192.0.2.3"), 500}, 7, kStart));
  CHECK(!jar.is_ours(cookie, nonce, peer, 8, kStart));
  CHECK(!jar.is_ours({}, nonce, peer, 7, kStart));
  CHECK(jar.is_ours(cookie, nonce, peer, 7, kStart + seconds(130)));
  CHECK(!jar.is_ours(cookie, nonce, peer, 7, kStart + seconds(260)));
}

TEST_CASE("a rate limit lets a burst through and then the rate") {
  ike::RateLimit limit(10, 5);
  unsigned passed = 0;
  for (int i = 0; i < 100; ++i) passed += limit.allows(kStart) ? 1 : 0;
  CHECK(passed == 5);
  for (int i = 0; i < 100; ++i) passed += limit.allows(kStart + milliseconds(10 * i)) ? 1 : 0;
  CHECK(passed >= 13);
  CHECK(passed <= 16);
}

TEST_CASE("the lowest nonce: octet by octet, the shorter first") {
  CHECK(ike::lower_nonce(ByteVector{1, 2}, ByteVector{1, 3}) == ByteVector{1, 2});
  CHECK(ike::lower_nonce(ByteVector{1, 2, 0}, ByteVector{1, 2}) == ByteVector{1, 2});
  CHECK(ike::lower_nonce(ByteVector{255}, ByteVector{0, 0, 0}) == ByteVector{0, 0, 0});
}

TEST_CASE("NAT detection compares both hashes, and needs both notifies") {
  ike::Header head;
  head.spi_initiator = 5;
  const Endpoint us{address("192.0.2.2"), 500}, peer{address("192.0.2.1"), 500},
      moved{address("192.0.2.1"), 1024};
  std::vector<ike::Payload> payloads;
  CHECK(!ike::detect_nat(payloads, head, us, peer).supported);
  ike::add_nat_notifies(payloads, head, peer, us, false);
  const auto plain = ike::detect_nat(payloads, head, us, peer);
  CHECK((plain.supported && !plain.local && !plain.remote));
  CHECK(ike::detect_nat(payloads, head, us, moved).remote);
  CHECK(ike::detect_nat(payloads, head, {us.address, 4500}, peer).local);
  payloads.clear();
  ike::add_nat_notifies(payloads, head, peer, us, true);
  CHECK(ike::detect_nat(payloads, head, us, peer).remote);
}

}  // namespace
}  // namespace espgate::test
