// Proposals and their differences in words, for the log and the shell.
#include <algorithm>
#include <array>

#include "control/ike/proposal_choice.hpp"
#include "control/ike/proposal_match.hpp"
#include "control/ike/transform_names.hpp"

namespace espgate::ike {
namespace {

// A stranger may offer a thousand transforms: what is told of them stays a line.
constexpr std::size_t kMaxNames = 12;
constexpr std::size_t kMaxProposals = 6;

std::string join(const std::vector<std::string>& parts, const char* separator) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : separator) + part;
  return text;
}

// The names, each once, that were collected so far; "and more" stands for those beyond the limit.
class Names {
 public:
  explicit Names(std::size_t limit) : limit_(limit) {}
  void add(std::string name) {
    if (more_ || std::ranges::find(names_, name) != names_.end()) return;
    more_ = names_.size() == limit_;
    names_.push_back(more_ ? "and more" : std::move(name));
  }
  [[nodiscard]] bool full() const { return more_; }
  [[nodiscard]] std::string text(const char* separator, const char* nothing) const {
    return names_.empty() ? nothing : join(names_, separator);
  }

 private:
  std::size_t limit_;
  bool more_{false};
  std::vector<std::string> names_;
};

// "ecp384, x25519", each once; "none".
std::string list(const std::vector<Transform>& transforms) {
  Names names(kMaxNames);
  for (const Transform& transform : transforms) {
    names.add(name_of(transform));
    if (names.full()) break;
  }
  return names.text(", ", "none");
}

// The PRF of the same hash (IANA's numbers) as an integrity algorithm.
std::uint16_t prf_of(const Transform& integrity) {
  switch (integrity.id) {
    case 1:
      return 1;  // MD5
    case 2:
      return 2;  // SHA1
    case 12:
      return 5;  // SHA2
    case 13:
      return 6;
    case 14:
      return 7;
    default:
      return 0;
  }
}

// The PRF that goes with an integrity algorithm's hash needs no mention: "aes256-sha384-ecp384".
bool is_implied_prf(const Transform& prf, const std::vector<Transform>& transforms) {
  return std::ranges::any_of(transforms, [&prf](const Transform& integrity) {
    return integrity.type == TransformType::integrity && prf_of(integrity) == prf.id && prf.key_bits == 0 &&
           !prf.unknown_attribute;
  });
}

bool is_mentioned(const Transform& transform, const std::vector<Transform>& transforms) {
  const bool none = transform.id == 0 && transform.key_bits == 0 && !transform.unknown_attribute;
  switch (transform.type) {
    case TransformType::prf:
      return !is_implied_prf(transform, transforms);
    case TransformType::esn:  // what goes without saying, unless it is one of two
      return !none || of_type(transforms, TransformType::esn).size() > 1;
    case TransformType::integrity:
      return !none;
    default:
      return true;
  }
}

std::string describe_transforms(const std::vector<Transform>& transforms) {
  Names names(kMaxNames);
  for (const TransformType type : kTransformTypes)
    for (const Transform& transform : transforms)
      if (transform.type == type && !names.full() && is_mentioned(transform, transforms))
        names.add(name_of(transform));
  for (const Transform& transform : transforms)
    if (std::ranges::find(kTransformTypes, transform.type) == kTransformTypes.end() && !names.full())
      names.add(name_of(transform));
  return names.text("-", "nothing");
}

std::string name_of(Protocol protocol) {
  switch (protocol) {
    case Protocol::ike:
      return "IKE";
    case Protocol::ah:
      return "AH";
    case Protocol::esp:
      return "ESP";
    default:
      return "protocol " + std::to_string(static_cast<unsigned>(protocol));
  }
}

const char* kind_of(TransformType type, Protocol protocol) {
  switch (type) {
    case TransformType::cipher:
      return "cipher";
    case TransformType::prf:
      return "PRF";
    case TransformType::integrity:
      return "integrity algorithm";
    case TransformType::dh:
      return protocol == Protocol::ike ? "DH group" : "PFS group";
    case TransformType::esn:
      break;
  }
  return "sequence number size";
}

// One type's part of a difference.
struct Difference {
  TransformType type;
  std::vector<Transform> theirs, ours;
};

// Where `theirs` and `ours` do not agree. The integrity algorithm that only one side has goes with its
// cipher: where the ciphers differ already (AEAD against the others), it explains nothing more.
std::vector<Difference> differences(const std::vector<Transform>& theirs,
                                    const std::vector<Transform>& ours) {
  std::vector<Difference> found;
  for (const TransformType type : kTransformTypes) {
    Difference one{type, of_type(theirs, type), of_type(ours, type)};
    if (match_type(type, one.theirs, one.ours).agreed) continue;
    const bool follows_cipher = type == TransformType::integrity && !found.empty() &&
                                found.front().type == TransformType::cipher &&
                                (one.theirs.empty() || one.ours.empty());
    if (!follows_cipher) found.push_back(std::move(one));
  }
  return found;
}

std::string words_for(const std::vector<Difference>& found, Protocol protocol) {
  std::vector<std::string> parts;
  for (const Difference& one : found)
    parts.push_back(std::string("no ") + kind_of(one.type, protocol) + " in common: they offer " +
                    list(one.theirs) + "; we accept " + list(one.ours));
  return join(parts, "; ");
}

// All transforms of all proposals together.
std::vector<Transform> all_of(const std::vector<Proposal>& proposals) {
  std::vector<Transform> all;
  for (const Proposal& proposal : proposals)
    all.insert(all.end(), proposal.transforms.begin(), proposal.transforms.end());
  return all;
}

// The types of which not one transform is in common, in any proposal of either side.
std::vector<Difference> overall_differences(const std::vector<Proposal>& theirs, const SaPayload& ours) {
  std::vector<Difference> found = differences(all_of(theirs), all_of(ours.proposals));
  // A type that some proposals have and others lack is told by the closest pair.
  std::erase_if(found,
                [](const Difference& one) { return one.theirs.empty() && one.type == TransformType::esn; });
  return found;
}

// No type separates the offers as a whole: the two proposals that come closest tell what does.
std::string closest_words(const std::vector<Proposal>& theirs, const SaPayload& ours) {
  const Proposal* best_theirs = nullptr;
  const Proposal* best_ours = nullptr;
  std::vector<Difference> best;
  for (const Proposal& offered : theirs)
    for (const Proposal& mine : ours.proposals) {
      std::vector<Difference> found = differences(offered.transforms, mine.transforms);
      if (best_theirs != nullptr && found.size() >= best.size()) continue;
      best_theirs = &offered;
      best_ours = &mine;
      best = std::move(found);
    }
  if (best_theirs == nullptr || best.empty()) return "the proposals agree, but the offered SPI can't be used";
  return "each algorithm is known, but no whole proposal is in common; the closest are their " +
         describe_transforms(best_theirs->transforms) + " and our " +
         describe_transforms(best_ours->transforms) + ": " + words_for(best, best_ours->protocol);
}

std::string protocols_of(const SaPayload& sa) {
  Names names(kMaxNames);
  for (const Proposal& proposal : sa.proposals) names.add(name_of(proposal.protocol));
  return names.text(", ", "nothing");
}

}  // namespace

std::string describe(const SaPayload& offer) {
  Names texts(kMaxProposals);
  for (const Proposal& proposal : offer.proposals)
    if (!texts.full()) texts.add(describe_transforms(proposal.transforms));
  return texts.text(", ", "nothing");
}

std::string describe(const IkeAlgorithms& algorithms) {
  const auto transform = [](TransformType type, auto id, std::uint16_t key_bits = 0) {
    return Transform{type, static_cast<std::uint16_t>(id), key_bits, false};
  };
  return describe_transforms({transform(TransformType::cipher, algorithms.cipher, algorithms.key_bits),
                              transform(TransformType::integrity, algorithms.integrity),
                              transform(TransformType::prf, algorithms.prf),
                              transform(TransformType::dh, algorithms.group)});
}

std::string mismatch_words(const SaPayload& offered, const SaPayload& accepted) {
  if (accepted.proposals.empty()) return "we accept no proposal at all";
  const Protocol protocol = accepted.proposals.front().protocol;
  std::vector<Proposal> theirs;
  std::ranges::copy_if(offered.proposals, std::back_inserter(theirs),
                       [protocol](const Proposal& proposal) { return proposal.protocol == protocol; });
  if (theirs.empty()) return "they offer " + protocols_of(offered) + "; we accept " + name_of(protocol);
  std::erase_if(theirs, [](const Proposal& proposal) { return unknown_type(proposal).has_value(); });
  if (theirs.empty())
    return "each of their proposals has a kind of transform that is unknown here: " + describe(offered);
  const std::vector<Difference> overall = overall_differences(theirs, accepted);
  return overall.empty() ? closest_words(theirs, accepted) : words_for(overall, protocol);
}

std::vector<Compared> compare(const SaPayload& theirs, const SaPayload& ours) {
  std::vector<Compared> out;
  if (ours.proposals.empty()) return out;
  const Protocol protocol = ours.proposals.front().protocol;
  const std::vector<Transform> all_theirs = all_of(theirs.proposals), all_ours = all_of(ours.proposals);
  for (const TransformType type : kTransformTypes) {
    const std::vector<Transform> a = of_type(all_theirs, type), b = of_type(all_ours, type);
    if (a.empty() && b.empty()) continue;
    out.push_back({kind_of(type, protocol), list(a), list(b), match_type(type, a, b).agreed});
  }
  return out;
}

}  // namespace espgate::ike
