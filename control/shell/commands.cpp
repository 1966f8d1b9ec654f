#include "control/shell/commands.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "control/shell/render.hpp"
#include "control/shell/show.hpp"
#include "control/shell/text.hpp"
#include "control/tunnels/printable.hpp"

namespace espgate::control {

namespace {

json help_data(Gateway&, const Arguments& arguments, Time) {
  json rows = json::array();
  for (const ShellCommand& command : shell_commands())
    rows.push_back({{"command", command.words}, {"arguments", command.arguments}, {"help", command.help}});
  return {{"commands", rows}, {"text", help_text(arguments)}};
}

std::string help_render(const json& data) { return data.at("text").get<std::string>(); }

}  // namespace

const std::vector<ShellCommand>& shell_commands() {
  static const std::vector<ShellCommand> kCommands{
      {"show tunnels", "[NAME]", "each tunnel: up or not, since when, its packets, its last error",
       show_tunnels, render_tunnels},
      {"show ike sa", "[NAME]", "the IKE SAs: peers, algorithms, lifetimes", show_ike_sa, render_ike_sa},
      {"show ike counters", "", "notifies of each kind, sent and received", show_ike_counters,
       render_ike_counters},
      {"show ipsec sa", "[NAME]", "the child SAs: SPIs, suite, packets, age, failures", show_ipsec_sa,
       render_ipsec_sa},
      {"explain tunnel", "NAME",
       "why a tunnel is not up, or carries nothing one way, and what to change where", explain_tunnel,
       render_explanation},
      {"show interfaces", "", "ports and tunnel interfaces: addresses, MTU, packets", show_interfaces,
       render_interfaces},
      {"show crypto-devices", "", "devices for lookaside cryptography: suites, sessions, packets",
       show_crypto_devices, render_crypto_devices},
      {"show routes", "", "connected and static routes, and learned ones that are held back", show_routes,
       render_routes},
      {"show groups", "", "groups and which members are up", show_groups, render_groups},
      {"show group", "NAME", "one group: its members, their shares of the flows, their packets", show_group,
       render_group},
      {"show drops", "[--nonzero]", "every reason for which packets were dropped, with its meaning",
       show_drops, render_drops},
      {"show unknown-spis", "", "who sent ESP that no SA here takes: how much, and with which SPI",
       show_unknown_spis, render_unknown_spis},
      {"show log", "[-n N] [tunnel NAME]", "the newest lines of the log (20 unless told)", show_log,
       render_log},
      {"show version", "", "versions, and how the two processes are doing", show_version, render_version},
      {"mirror", "INTERFACE|off",
       "copy the packets of one interface to INTERFACE-m of the kernel, for tcpdump", mirror, render_done},
      {"reset tunnel", "NAME", "take a tunnel down and negotiate it anew", reset_tunnel, render_done},
      {"rekey tunnel", "NAME", "replace a tunnel's child SAs by new ones, without loss", rekey_tunnel,
       render_done},
      {"monitor", "", "packets and bits per second, refreshed until Ctrl-C", show_totals, render_totals},
      {"help", "[COMMAND]", "this list", help_data, help_render},
  };
  return kCommands;
}

std::vector<std::string> split_words(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  for (const char character : line) {
    if (character != ' ' && character != '\t') {
      word += character;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

namespace {

struct Candidate {
  const ShellCommand* command;
  std::vector<std::string> words;
};

std::vector<Candidate> all_candidates() {
  std::vector<Candidate> candidates;
  for (const ShellCommand& command : shell_commands())
    candidates.push_back({&command, split_words(command.words)});
  return candidates;
}

std::set<std::string> choices_at(const std::vector<Candidate>& candidates, std::size_t position) {
  std::set<std::string> choices;
  for (const Candidate& candidate : candidates)
    if (position < candidate.words.size()) choices.insert(candidate.words[position]);
  return choices;
}

// Keeps those whose word at `position` begins with `word`; those where it is the whole word win.
std::vector<Candidate> narrowed(std::vector<Candidate> candidates, std::size_t position,
                                const std::string& word) {
  const bool exact = choices_at(candidates, position).contains(word);
  std::erase_if(candidates, [&](const Candidate& candidate) {
    if (position >= candidate.words.size()) return true;
    const std::string& have = candidate.words[position];
    return exact ? have != word : !have.starts_with(word);
  });
  return candidates;
}

bool complete_at(const std::vector<Candidate>& candidates, std::size_t position) {
  return candidates.size() == 1 && candidates.front().words.size() == position;
}

}  // namespace

Matched match_command(const std::vector<std::string>& words) {
  if (words.empty()) throw CommandError("no command; `help` lists them");
  std::vector<Candidate> candidates = all_candidates();
  std::string so_far;
  std::size_t position = 0;
  for (; position < words.size() && !complete_at(candidates, position); ++position) {
    const std::set<std::string> before = choices_at(candidates, position);
    candidates = narrowed(std::move(candidates), position, words[position]);
    const std::set<std::string> choices = choices_at(candidates, position);
    if (choices.empty())
      throw CommandError(fmt::format("no such command: \"{}{}\"; there is {}", so_far,
                                     printable(words[position].substr(0, 40)), fmt::join(before, ", ")));
    if (choices.size() > 1)
      throw CommandError(
          fmt::format("\"{}{}\" may be {}", so_far, printable(words[position]), fmt::join(choices, " or ")));
    so_far += *choices.begin() + " ";
  }
  if (!complete_at(candidates, position))
    throw CommandError(fmt::format("\"{}\" wants another word: {}", so_far.substr(0, so_far.size() - 1),
                                   fmt::join(choices_at(candidates, position), ", ")));
  return {candidates.front().command,
          Arguments(words.begin() + static_cast<std::ptrdiff_t>(position), words.end())};
}

namespace {

std::set<std::string> argument_choices(const ShellCommand& command, const Arguments& before,
                                       const conf::Configuration& configuration) {
  std::set<std::string> choices;
  const bool takes_keyword = command.arguments.find("tunnel NAME") != std::string_view::npos;
  const bool after_keyword = !before.empty() && before.back() == "tunnel";
  if (takes_keyword && !after_keyword) return {"-n", "tunnel"};
  if (command.words == "show group") {
    for (const conf::Group& group : configuration.groups)
      if (before.empty()) choices.insert(group.name);
    return choices;
  }
  if (command.arguments.find("NAME") != std::string_view::npos && (before.empty() || after_keyword))
    for (const conf::Tunnel& tunnel : configuration.tunnels) choices.insert(tunnel.name);
  if (command.arguments == "[--nonzero]" && before.empty()) choices.insert("--nonzero");
  return choices;
}

}  // namespace

std::vector<std::string> complete(std::string_view line, const conf::Configuration& configuration) {
  std::vector<std::string> words = split_words(line);
  std::string last;
  if (!words.empty() && line.back() != ' ' && line.back() != '\t') {
    last = words.back();
    words.pop_back();
  }
  std::vector<Candidate> candidates = all_candidates();
  std::size_t position = 0;
  for (; position < words.size() && !complete_at(candidates, position); ++position)
    candidates = narrowed(std::move(candidates), position, words[position]);
  std::set<std::string> choices =
      complete_at(candidates, position)
          ? argument_choices(*candidates.front().command,
                             Arguments(words.begin() + static_cast<std::ptrdiff_t>(position), words.end()),
                             configuration)
          : choices_at(candidates, position);
  std::erase_if(choices, [&last](const std::string& choice) { return !choice.starts_with(last); });
  return {choices.begin(), choices.end()};
}

std::string help_text(const std::vector<std::string>& words) {
  std::vector<Candidate> candidates = all_candidates();
  for (std::size_t position = 0; position < words.size() && !complete_at(candidates, position); ++position)
    candidates = narrowed(std::move(candidates), position, words[position]);
  std::string text;
  for (const Candidate& candidate : candidates) {
    const ShellCommand& command = *candidate.command;
    text +=
        line(fmt::format("{}{}{}", command.words, command.arguments.empty() ? "" : " ", command.arguments));
    text += wrapped(command.help, 4);
  }
  return text.empty() ? "no command begins so; `help` lists all\n" : text;
}

}  // namespace espgate::control
