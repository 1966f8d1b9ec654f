// espgate: the shell. One command, a prompt, `run` and `check`.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>

#include "conf/load.hpp"
#include "control/shell/check.hpp"
#include "control/shell/client.hpp"
#include "control/shell/run.hpp"
#include "crypto/signature.hpp"

namespace {

using namespace espgate;

struct Options {
  std::string runtime;
  std::string config;
  bool as_json{false};
};

std::string runtime_directory(const Options& options) {
  if (!options.runtime.empty()) return options.runtime;
  if (!options.config.empty()) return conf::load_file(options.config, conf::Secrets::skip).runtime_directory;
  if (const char* from_environment = std::getenv("ESPGATE_RUNTIME")) return from_environment;
  return conf::Configuration{}.runtime_directory;
}

control::Outcome converse(Options options, std::vector<std::string> words) {
  // `espgate show tunnels --json` is meant as `espgate --json show tunnels`.
  options.as_json = std::erase(words, "--json") > 0 || options.as_json;
  const std::string directory = runtime_directory(options);
  control::Client client(directory);
  if (words.empty()) return control::prompt(client, directory);
  std::string command;
  for (const std::string& word : words) command += (command.empty() ? "" : " ") + word;
  return control::execute(client, command, options.as_json);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "The shell of an espgate gateway. Without arguments: a prompt. With a command: its answer.\n"
      "`espgate help` lists the commands. Exit status: 0, 1 (refused), 2 (can't be reached)."};
  Options options;
  std::string file;
  app.add_option("--runtime", options.runtime,
                 "where the sockets are (default: $ESPGATE_RUNTIME, or /run/espgate)");
  app.add_option("--config", options.config, "take the runtime directory from this file");
  app.add_flag("--json", options.as_json, "answers as JSON");
  app.set_version_flag("--version", ESPGATE_VERSION);
  app.prefix_command();
  CLI::App* run = app.add_subcommand("run", "start the gateway in the foreground");
  run->add_option("FILE", file, "its configuration")->required();
  run->add_option("--runtime", options.runtime, "where the sockets are to be (default: the file's)");
  CLI::App* check = app.add_subcommand("check", "say whether a configuration is right");
  check->add_option("FILE", file, "the configuration")->required();
  bool explain = false;
  check->add_flag("--explain", explain, "each tunnel's values, and where each comes from");
  CLI11_PARSE(app, argc, argv);
  crypto::erase_what_openssl_frees();  // both read private keys
  if (run->parsed()) return control::run_gateway(file, options.runtime);
  if (check->parsed()) return control::check_file(file, explain);
  try {
    return static_cast<int>(converse(options, app.remaining()));
  } catch (const control::Unreachable& error) {
    fmt::print(stderr, "{}\n", error.what());
    return static_cast<int>(control::Outcome::unreachable);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return static_cast<int>(control::Outcome::refused);
  }
}
