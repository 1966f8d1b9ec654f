// interleavings DEPTH: what two gateways may begin at once, crossed with all that a wire can do to
// the first DEPTH datagrams that follow: each arrives soon, is overtaken by later ones, comes after it was
// sent again, is lost, or comes twice, the second time much later. Every sequence of these is run once, and
// again until each side's nonces have won where both rekeyed the same. In the end there must be one IKE SA
// and one child pair on both sides and nothing else; and where nobody deleted anything, no moment at which a
// packet would have been lost. RFC 7296 sections 1.4.1, 2.1, 2.8.1, 2.8.2, 2.25.
// interleavings SCENARIO FATES: runs one of those that were WRONG, and tells what happened.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "control/ike/message.hpp"
#include "world.hpp"

namespace espgate::test {
namespace {

enum class Act : std::uint8_t {
  none,
  rekey_child,
  rekey_ike,
  rekey_both,
  reauth,
  delete_child,
  delete_ike,
  dpd
};
constexpr const char* kActs[] = {"nothing",          "child rekey",  "IKE rekey",  "child and IKE rekey",
                                 "reauthentication", "child delete", "IKE delete", "DPD"};
constexpr Act kAll[] = {Act::none,   Act::rekey_child,  Act::rekey_ike,  Act::rekey_both,
                        Act::reauth, Act::delete_child, Act::delete_ike, Act::dpd};
// Milliseconds: at once; while the request is on its way; while its answer is; while the next request is; and
// when what was lost has come again.
constexpr int kGaps[] = {0, 5, 15, 25, 515};

enum class Fate : std::uint8_t { soon, overtaken, after_again, lost, twice };
constexpr unsigned kFates = 5;
constexpr char kFateLetters[] = "soxl2";

std::vector<milliseconds> delays(Fate fate) {
  switch (fate) {
    case Fate::soon:
      return {milliseconds(10)};
    case Fate::overtaken:
      return {milliseconds(45)};
    case Fate::after_again:
      return {milliseconds(700)};
    case Fate::lost:
      return {};
    case Fate::twice:
      return {milliseconds(10), milliseconds(700)};
  }
  return {};
}

struct Scenario {
  unsigned number;
  Act east, west;
  int gap;
  [[nodiscard]] bool deletes() const {
    const auto is_delete = [](Act a) { return a == Act::delete_child || a == Act::delete_ike; };
    return is_delete(east) || is_delete(west);
  }
};

// Somebody says, without a proof, that the peer does not know the IKE SA: the peer is asked.
void provoke_dpd(Gateway& gateway, Time now) {
  const auto all = gateway.daemon->list();
  if (all.empty()) return;
  const ike::IkeInfo& sa = all.front();
  ike::Header header;
  header.spi_initiator = sa.spi_initiator;
  header.spi_responder = sa.spi_responder;
  header.exchange = ike::Exchange::informational;
  header.from_initiator = !sa.initiator;
  header.response = true;
  const ike::NotifyPayload unknown{ike::Protocol::none, {}, ike::NotifyType::invalid_ike_spi, {}};
  gateway.daemon->received(sa.local, sa.remote, ike::encode_plain(header, {unknown}), now);
}

void perform(Act act, Gateway& gateway, Time now) {
  const std::uint32_t child = gateway.outbound.empty() ? 0 : gateway.outbound.begin()->second.inbound_spi;
  switch (act) {
    case Act::none:
      return;
    case Act::rekey_child:
      return gateway.daemon->rekey_child(child, now);
    case Act::rekey_ike:
      return gateway.daemon->rekey_ike(0, now);
    case Act::rekey_both:
      gateway.daemon->rekey_child(child, now);
      return gateway.daemon->rekey_ike(0, now);
    case Act::reauth:
      return gateway.daemon->reauthenticate(0, now);
    case Act::delete_child:
      return gateway.daemon->child_expired(child, now);
    case Act::delete_ike:
      return gateway.daemon->terminate(0, {Failure::operator_request, "reset"}, now);
    case Act::dpd:
      return provoke_dpd(gateway, now);
  }
}

// The fates of the first datagrams, counted through like a number's digits; only as many digits count as
// there were datagrams.
class Fates {
 public:
  explicit Fates(unsigned depth) : digits_(depth, 0) {}

  std::vector<milliseconds> next() {
    if (used_ == digits_.size()) return delays(Fate::soon);
    return delays(static_cast<Fate>(digits_[used_++]));
  }
  // False: all were run.
  bool advance() {
    unsigned at = used_;
    used_ = 0;
    for (; at > 0; --at) {
      if (++digits_[at - 1] < kFates) return true;
      digits_[at - 1] = 0;
    }
    return false;
  }
  void again() { used_ = 0; }
  void set(const std::string& letters) {
    digits_.clear();
    for (const char letter : letters)
      digits_.push_back(static_cast<unsigned>(std::strchr(kFateLetters, letter) - kFateLetters));
  }
  [[nodiscard]] std::string text() const {
    std::string out;
    for (unsigned i = 0; i < used_; ++i) out += kFateLetters[digits_[i]];
    return out;
  }

 private:
  std::vector<unsigned> digits_;
  unsigned used_{0};
};

std::string words(const Scenario& s) {
  return std::string(kActs[static_cast<int>(s.east)]) + ", " + kActs[static_cast<int>(s.west)] + " " +
         std::to_string(s.gap) + " ms later";
}

std::vector<Scenario> scenarios() {
  std::vector<Scenario> out;
  for (const Act east : kAll)
    for (const Act west : kAll)
      for (const int gap : kGaps)
        if (east != Act::none && (west != Act::none || gap == 0))
          out.push_back({static_cast<unsigned>(out.size()), east, west, gap});
  return out;
}

struct Outcome {
  bool ours{false}, theirs{false};  // both rekeyed the same; by east's account
  std::string wrong;                // empty: all was as it must be
};

std::string judge(World& world, const Scenario& scenario) {
  if (!world.complaints.empty()) return world.complaints.front();
  if (!world.settled()) {
    return "in the end there are " + std::to_string(world.east.ike_sas()) + " and " +
           std::to_string(world.west.ike_sas()) + " IKE SAs, " + std::to_string(world.east.inbound.size()) +
           " and " + std::to_string(world.west.inbound.size()) + " inbound SAs";
  }
  const bool down = !world.east.downs.empty() || !world.west.downs.empty();
  return down && !scenario.deletes() ? "a tunnel was down" : "";
}

Outcome run(const Scenario& scenario, Fates& fates, bool verbose) {
  World world;
  const Time begun = world.now;
  if (!world.establish()) return {false, false, "the gateways did not connect"};
  world.run(seconds(5));  // the hint that provokes DPD must not come sooner, nor what is a beginning anew
  world.east.retry = world.west.retry = true;
  if (!scenario.deletes()) world.watch_flow();
  world.fate = [&fates](const Datagram&) { return fates.next(); };
  if (verbose) {
    world.witness = [&world, begun](const Gateway& g, const std::string& what) {
      const auto passed = std::chrono::duration_cast<milliseconds>(world.now - begun).count();
      std::printf("%7lld ms  %s%s\n", static_cast<long long>(passed), &g == &world.east ? "" : "        ",
                  (g.name + ": " + what).c_str());
    };
  }
  perform(scenario.east, world.east, world.now);
  world.run(milliseconds(scenario.gap));
  perform(scenario.west, world.west, world.now);
  world.run(seconds(20));
  world.run(seconds(120), [&world] { return world.settled(); });
  world.run(seconds(20));
  if (!world.settled()) world.run(seconds(120), [&world] { return world.settled(); });
  return {world.east.said("ours stays"), world.east.said("the peer's new one stays"), judge(world, scenario)};
}

class Run {
 public:
  explicit Run(unsigned depth) : depth_(depth) {}

  void all(const Scenario& scenario) {
    constexpr unsigned kTries = 24;  // at the nonces' lot
    Fates fates(depth_);
    unsigned orders = 0, wrong = 0;
    do {
      bool ours = false, theirs = false;
      for (unsigned i = 0; i < kTries && (i == 0 || ours != theirs); ++i) {
        fates.again();
        const Outcome outcome = run(scenario, fates, false);
        ours = ours || outcome.ours;
        theirs = theirs || outcome.theirs;
        ++runs_;
        collisions_ += outcome.ours || outcome.theirs ? 1 : 0;
        if (!outcome.wrong.empty()) {
          ++wrong;
          complain(scenario, fates, outcome);
          break;
        }
      }
      ++orders;
    } while (fates.advance());
    orders_ += orders;
    wrong_ += wrong;
    if (wrong == 0) return;
    std::printf("%s: %u interleavings, %u wrong\n", words(scenario).c_str(), orders, wrong);
    std::fflush(stdout);
  }

  bool good() const {
    std::printf("%llu interleavings (%llu runs, %llu of them with both at the same): %llu wrong\n", orders_,
                runs_, collisions_, wrong_);
    return wrong_ == 0 && collisions_ > 0;
  }

 private:
  void complain(const Scenario& s, const Fates& fates, const Outcome& outcome) {
    constexpr unsigned long long kMost = 40;
    if (++told_ > kMost) return;
    std::printf("WRONG: %u %s: %s: %s\n", s.number, fates.text().c_str(), words(s).c_str(),
                outcome.wrong.c_str());
  }
  unsigned depth_;
  unsigned long long orders_{0}, runs_{0}, collisions_{0}, wrong_{0}, told_{0};
};

int show(std::size_t number, const char* letters) {
  const auto all = scenarios();
  if (number >= all.size() || std::strspn(letters, kFateLetters) != std::strlen(letters)) {
    std::printf("no such scenario or fates\n");
    return 2;
  }
  Fates fates(0);
  fates.set(letters);
  std::printf("%s\n", words(all[number]).c_str());
  const Outcome outcome = run(all[number], fates, true);
  std::printf("%s\n", outcome.wrong.empty() ? "good" : outcome.wrong.c_str());
  return outcome.wrong.empty() ? 0 : 1;
}

}  // namespace
}  // namespace espgate::test

int main(int argc, char** argv) {
  using namespace espgate::test;
  const auto number = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 3;
  if (argc > 2) return show(number, argv[2]);
  Run run(static_cast<unsigned>(kSanitized ? std::min(number, 2UL) : number));
  for (const Scenario& scenario : scenarios()) run.all(scenario);
  return run.good() ? 0 : 1;
}
