// Post-quantum pre-shared keys (RFC 8784): which, from which files, and from when until when.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>

#include "conf/choices.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr std::size_t kMostPpks = 64;
constexpr std::size_t kMostId = 128;  // characters

using std::chrono::sys_days;

// The digits at `at`; nullopt: others are there. `text` is longer than that.
std::optional<unsigned> digits(std::string_view text, std::size_t at, std::size_t count) {
  unsigned value = 0;
  const char* const begin = text.data() + at;
  const auto [end, error] = std::from_chars(begin, begin + count, value);
  if (error != std::errc{} || end != begin + count) return std::nullopt;
  return value;
}

// "2026-12-31"
std::optional<sys_days> to_day(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const auto year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  if (!year || !month || !day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(*year)),
                                         std::chrono::month(*month), std::chrono::day(*day)};
  return date.ok() ? std::optional<sys_days>(date) : std::nullopt;
}

// "12:00:00Z", in seconds
std::optional<unsigned> to_time_of_day(std::string_view text) {
  if (text.size() != 9 || text[2] != ':' || text[5] != ':' || text[8] != 'Z') return std::nullopt;
  const auto hour = digits(text, 0, 2), minute = digits(text, 3, 2), second = digits(text, 6, 2);
  if (!hour || !minute || !second || *hour > 23 || *minute > 59 || *second > 59) return std::nullopt;
  return *hour * 3600 + *minute * 60 + *second;
}

// `of_day`: what a date alone means, in seconds of that day.
void read_moment(const Field& field, std::int64_t& out, unsigned of_day) {
  const std::string_view text = field.is_scalar() ? std::string_view(field.node.text) : std::string_view();
  const auto day = to_day(text.substr(0, 10));
  std::optional<unsigned> time = of_day;
  if (text.size() > 10) time = text[10] == 'T' ? to_time_of_day(text.substr(11)) : std::nullopt;
  if (!day || !time)
    return field.expected("a date or time in UTC, such as 2026-12-31 or 2026-12-31T18:00:00Z");
  out = std::chrono::duration_cast<std::chrono::seconds>(day->time_since_epoch()).count() + *time;
}

void read_id(const Field& field, std::string& out) {
  const std::string_view text = field.is_scalar() ? std::string_view(field.node.text) : std::string_view();
  const bool good = !text.empty() && text.size() <= kMostId &&
                    std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
  if (!good) return field.expected(fmt::format("1 to {} characters of ASCII without blanks", kMostId));
  out = text;
}

constexpr Key<Ppk> kPpkKeys[] = {
    {"id", Need::required, [](const Field& f, Ppk& p) { read_id(f, p.id); }},
    {"file", Need::required, [](const Field& f, Ppk& p) { read_ppk_file(f, p.secret); }},
    {"type", Need::optional, [](const Field& f, Ppk& p) { read_choice(f, p.type, kPpkIdType); }},
    {"not-before", Need::optional, [](const Field& f, Ppk& p) { read_moment(f, p.not_before, 0); }},
    {"not-after", Need::optional, [](const Field& f, Ppk& p) { read_moment(f, p.not_after, 86'399); }},
};

void read_ppk(const Field& field, Ppk& out) {
  out.mark = field.node.mark;
  read_block(field, kPpkKeys, out);
  if (out.not_before > out.not_after)
    field.reading.errors.add(field.node.at("not-after").mark, "not-after: comes before not-before");
}

}  // namespace

void read_ppks(const Field& field, std::vector<Ppk>& out) {
  if (field.node.kind != NodeKind::list || field.node.children.empty())
    return field.expected("a list of at least one PPK, such as [{id: a1, file: a1.ppk}]");
  read_list(field, out, kMostPpks, read_ppk);
}

void check_ppks(const Field& tunnel, const Tunnel& out) {
  const Node& list = tunnel.node.at("ppks");
  if (const Node& use = tunnel.node.at("ppk-use");
      out.ppks.empty() && &use != &tunnel.node && &list == &tunnel.node)
    tunnel.reading.errors.add(use.mark, "ppk-use: the tunnel has no ppks");
  for (std::size_t i = 0; i < out.ppks.size(); ++i) {
    const Ppk& ppk = out.ppks[i];
    const auto same = [&ppk](const Ppk& other) { return other.id == ppk.id && other.type == ppk.type; };
    const auto end = out.ppks.begin() + static_cast<std::ptrdiff_t>(i);
    if (const auto first = std::find_if(out.ppks.begin(), end, same); !ppk.id.empty() && first != end)
      tunnel.reading.errors.add(
          list.at(i).at("id").mark,
          fmt::format("id: {} is the id of another PPK (line {})", in_quotes(ppk.id), first->mark.line));
  }
}

void append_ppk_keys(std::vector<KnownKey>& to) { append_keys(to, "tunnels.ppks", kPpkKeys); }

}  // namespace espgate::conf
