// The interactive prompt: libedit's line editing, history in ~/.espgate_history, completion by the server.
#include <editline/readline.h>
#include <fmt/format.h>

#include <cstdlib>
#include <memory>

#include "control/shell/client.hpp"

namespace espgate::control {

namespace {

// libedit's completion is a plain function, so what it works on is here.
struct Completion {
  Client* client{nullptr};
  std::vector<std::string> choices;
  std::size_t next{0};
};
Completion completion;

char* next_choice(const char*, int state) {
  if (state == 0) completion.next = 0;
  if (completion.next >= completion.choices.size()) return nullptr;
  return ::strdup(completion.choices[completion.next++].c_str());
}

char** complete_word(const char* word, int, int end) {
  rl_attempted_completion_over = 1;  // never file names
  completion.choices = completion.client->choices(std::string(rl_line_buffer, static_cast<std::size_t>(end)));
  if (completion.choices.empty()) return nullptr;
  return rl_completion_matches(word, next_choice);
}

std::string history_file() {
  const char* home = std::getenv("HOME");
  return home == nullptr ? "" : std::string(home) + "/.espgate_history";
}

struct Free {
  void operator()(char* text) const { std::free(text); }
};

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

void start_editing(Client& client) {
  completion.client = &client;
  rl_readline_name = "espgate";
  rl_attempted_completion_function = complete_word;
  using_history();
  stifle_history(1000);
  if (!history_file().empty()) read_history(history_file().c_str());
}

}  // namespace

Outcome prompt(Client& client, const std::string& runtime_directory) {
  const json version = client.request({{"command", "show version"}, {"json", true}});
  const std::string name = version.value("data", json::object()).value("name", "espgate");
  fmt::print("espgate on {} ({}). `help` lists the commands, Tab completes, Ctrl-D ends.\n", name,
             runtime_directory);
  start_editing(client);
  const std::string text = name + "> ";
  while (const std::unique_ptr<char, Free> typed{readline(text.c_str())}) {
    const std::string command = trimmed(typed.get());
    if (command.empty()) continue;
    add_history(command.c_str());
    if (command == "exit" || command == "quit") break;
    execute(client, command, false);
  }
  if (!history_file().empty()) write_history(history_file().c_str());
  return Outcome::done;
}

}  // namespace espgate::control
