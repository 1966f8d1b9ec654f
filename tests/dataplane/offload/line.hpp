// A gateway (Desk) between two cables, with a card at the outer one, and the far end of its tunnel: OpenSSL.
// Whatever happens to the card, what is sent through the tunnel must come out at the other end, every packet
// once, in order.
//
//   lan 10.1.0.0/16  |gateway 192.0.2.1|  == tunnel 0 ==  |far end 192.0.2.2|  10.2.0.0/16
#pragma once

#include <rte_ethdev.h>

#include <catch2/catch.hpp>

#include "channel/spi.hpp"
#include "tests/dataplane/cable.hpp"
#include "tests/dataplane/host/desk.hpp"
#include "tests/dataplane/offload/security_card.hpp"

namespace espgate::test {

class Line {
 public:
  explicit Line(crypto::EspSuite suite = crypto::EspSuite::aes128_gcm16, bool udp = false) : udp_(udp) {
    desk.tables.ports[kLan].ethdev = lan.port;
    desk.tables.ports[kWan].ethdev = wan.port;
    desk.workers[0]->receive = {{kLan, 0}, {kWan, 0}};
    know_neighbours();
    REQUIRE(desk.run(set_tunnel(0)) == channel::CommandStatus::ok);
    REQUIRE(desk.run(set_route("10.2.0.0/16", channel::RouteKind::tunnel, 0)) == channel::CommandStatus::ok);
    const crypto::SuiteRow* const row = crypto::find_suite(suite);
    far.suite = row;
    far.keys = filling(crypto::key_material_length(*row));
  }

  ~Line() {
    for (const Cable* cable : {&lan, &wan}) {
      (void)cable->take();
      void* object = nullptr;
      while (rte_ring_dequeue(cable->rx[0], &object) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(object));
    }
  }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  void know_neighbours() {
    desk.know(kWan, "192.0.2.2", {2, 0, 0, 0, 9, 2});
    desk.know(kLan, "10.1.0.2", {2, 0, 0, 0, 9, 1});
    desk.know(kLan, "10.1.0.9", {2, 0, 0, 0, 9, 9});
  }
  void offer_card(std::optional<std::uint16_t> queue = {}) {
    auto probed = dataplane::Card::probe("wan", kWan, wan.port, true, true);
    REQUIRE(probed != nullptr);
    desk.offload.add(std::move(probed), [queue](std::uint32_t) { return queue; });
  }
  void install() {
    REQUIRE(desk.run(prepared(install_outbound(0, kOutSpi))) == channel::CommandStatus::ok);
    REQUIRE(desk.run(prepared(install_inbound(0, kInSpi))) == channel::CommandStatus::ok);
  }
  channel::Command prepared(channel::Command command) const {
    channel::InstallSa& sa = command.body.install_sa;
    sa.suite = static_cast<std::uint16_t>(far.suite->suite);
    std::copy(far.keys.begin(), far.keys.end(), sa.keys.begin());
    sa.udp_encapsulation = udp_ ? 1 : 0;
    sa.local_port = sa.remote_port = 4500;
    return command;
  }

  // A burst each way; what comes out is checked.
  void traffic(unsigned packets = 8) {
    send(packets);
    receive(packets);
  }
  void send(unsigned packets, std::uint8_t leaves_by = kWan) {
    std::vector<Octets> inner;
    for (unsigned i = 0; i < packets; ++i) {
      inner.push_back(ipv4_packet({}, payload(i)));
      put(lan, frame_to(kLan, inner.back()));
    }
    pump();
    const std::vector<Octets> frames = packets_of(leaves_by == kWan ? wan : lan);
    REQUIRE(frames.size() == packets);
    for (unsigned i = 0; i < packets; ++i) check_sent(frames[i], inner[i]);
  }
  void receive(unsigned packets) {
    std::vector<Octets> inner;
    for (unsigned i = 0; i < packets; ++i) {
      inner.push_back(ipv4_packet({.source = "10.2.0.2", .destination = "10.1.0.2"}, payload(i)));
      put(wan, frame_to(kWan, sealed_by_far(++received_, inner.back())));
    }
    pump();
    const std::vector<Octets> frames = packets_of(lan);
    REQUIRE(frames.size() == packets);
    for (unsigned i = 0; i < packets; ++i) REQUIRE(forwarded(inner[i]) == slice(frames[i], 14));
  }

  // The main thread's quarter of a second: `seconds` of them.
  void wait(double seconds) {
    for (const std::uint64_t until = desk.now + static_cast<std::uint64_t>(seconds * 1e9);
         desk.now < until;) {
      desk.wait(kSecond / 4);
      know_neighbours();
      desk.offload.poll(desk.now);
    }
  }
  // What was sent, without ARP.
  static std::vector<Octets> packets_of(const Cable& cable) {
    std::vector<Octets> frames = cable.take();
    std::erase_if(frames, [](const Octets& frame) { return get16(frame, 12) != 0x0800; });
    return frames;
  }
  void pump() {
    for (bool more = true; more;) {
      more = poll_once(*desk.workers[0]) != 0;
      void* object = nullptr;
      for (; rte_ring_dequeue(desk.workers[0]->exceptions, &object) == 0; more = true)
        desk.slow_path.handle(static_cast<rte_mbuf*>(object), desk.now);
    }
  }

  [[nodiscard]] Octets frame_to(std::uint8_t port, const Octets& ip) const {
    return ethernet(desk.interfaces[port].mac, 0x0800, ip);
  }
  void put(const Cable& cable, const Octets& frame) {
    REQUIRE(rte_ring_enqueue(cable.rx[0], desk.make(frame)) == 0);
  }
  [[nodiscard]] Octets sealed_by_far(std::uint32_t sequence, const Octets& inner) const {
    Octets esp(8U + far.suite->iv_length);
    put32(esp, 0, kInSpi);
    put32(esp, 4, sequence);
    for (std::size_t i = 8; i < esp.size(); ++i) esp[i] = static_cast<std::uint8_t>(sequence >> 8 * (i % 4));
    const Octets whole = oracle_seal(far, esp + with_trailer(inner, far.suite->suite, 4));
    const Octets payload = udp_ ? udp(4500, 4500, whole) : whole;
    return ipv4_packet({.source = "192.0.2.2", .destination = "192.0.2.1", .protocol = udp_ ? 17U : 50U},
                       payload);
  }
  // The ESP packet in a frame that was sent.
  [[nodiscard]] Octets esp_in(const Octets& frame) const { return slice(frame, 34U + (udp_ ? 8 : 0)); }
  void check_sent(const Octets& frame, const Octets& inner) {
    const Octets esp = esp_in(frame);
    REQUIRE(get16(frame, 16) + 14U == frame.size());
    REQUIRE(internet_sum(frame, 14, 20) == 0xffff);
    REQUIRE(get32(esp, 0) == kOutSpi);
    REQUIRE(get32(esp, 4) == ++sent_);  // and so each once, in order
    const std::optional<Octets> text = oracle_open(far, esp);
    REQUIRE(text);
    REQUIRE(slice(*text, 8U + far.suite->iv_length) == with_trailer(forwarded(inner), far.suite->suite, 4));
  }
  // So many sequence numbers were used for packets that did not come out.
  void skip(std::uint32_t packets) { sent_ += packets; }
  static Octets forwarded(Octets ip) {
    --ip[8];
    fix_ipv4_checksum(ip);
    return ip;
  }

  // Unlike any before it.
  Octets payload(unsigned i) {
    ++next_;
    return udp(i, next_ & 0xffff, filling((std::size_t{next_} * 37) % 1300));
  }

  [[nodiscard]] std::uint64_t dropped() {
    std::uint64_t sum = desk.all_drops();
    for (const auto& counter : desk.page.worker(0).drops) sum += counter.load();
    return sum;
  }
  [[nodiscard]] std::uint64_t tx_ipsec() { return desk.page.worker(0).ports[kWan].tx_ipsec; }
  [[nodiscard]] std::uint64_t rx_ipsec() { return desk.page.worker(0).ports[kWan].rx_ipsec; }

  static constexpr std::uint32_t kOutSpi = 0x1234567;
  static constexpr std::uint32_t kInSpi = 300;

  Cable lan{1, 128};
  Cable wan{1, 128};
  SecurityCard card{wan.port};
  OracleSa far;
  Desk desk;

 private:
  bool udp_;
  std::uint32_t next_{0};
  std::uint32_t sent_{0};
  std::uint32_t received_{0};
};

}  // namespace espgate::test
