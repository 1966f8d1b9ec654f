// espgate-control: reads the configuration, speaks IKEv2, drives the dataplane, answers the shell.
#include <fmt/format.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>

#include "channel/region.hpp"
#include "conf/credentials.hpp"
#include "conf/load.hpp"
#include "control/event_loop.hpp"
#include "crypto/signature.hpp"

namespace {

using namespace espgate;

// What is in memory stays there; what is not yet, as soon as it is.
bool lock_memory() { return ::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0; }

// Keys are in this process's memory: no core file, no debugger of the same user, no swap.
void protect_memory(control::Log& log) {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
  if (!lock_memory())
    log.warning(fmt::format("memory is not locked and may be swapped out: {}", std::strerror(errno)));
}

// What reading the configuration took, several times what is kept of it. Locked pages can't be given back, so
// for this moment they are not.
void give_back_memory() {
  if (::munlockall() != 0) return;
  ::malloc_trim(0);
  static_cast<void>(lock_memory());  // as before, and it was said if it can't be
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

File open_log(const std::string& path) {
  if (path.empty()) return nullptr;
  ::umask(0077);
  File file(std::fopen(path.c_str(), "ae"));
  if (!file) throw std::runtime_error(fmt::format("can't write the log {}: {}", path, std::strerror(errno)));
  return file;
}

void make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    throw std::runtime_error(fmt::format("can't make the directory {}: {}", path, std::strerror(errno)));
}

int run(const std::string& config, std::string runtime, const std::string& log_path) {
  const File file = open_log(log_path);
  control::Log log(file ? file.get() : stderr);
  protect_memory(log);
  channel::allow_many_descriptors();
  crypto::erase_what_openssl_frees();
  conf::Configuration configuration = conf::load_file(config);
  for (const std::string& line : conf::load_credentials(configuration, config, std::time(nullptr)))
    log.warning(line);
  give_back_memory();
  if (runtime.empty()) runtime = configuration.runtime_directory;
  make_directory(runtime);
  log.info(fmt::format("espgate-control {} for {}, tunnels: {}", ESPGATE_VERSION, configuration.name,
                       configuration.tunnels.size()));
  if (const std::string legacy = conf::legacy_words(configuration); !legacy.empty()) log.warning(legacy);
  control::EventLoop loop(configuration, runtime, log);
  loop.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "The control process of espgate: IKEv2, and what the dataplane is told. Usually begun by `espgate "
      "run`."};
  std::string config;
  std::string runtime;
  std::string log_path;
  app.add_option("--config", config, "the gateway's YAML file")->required();
  app.add_option("--runtime", runtime, "where the sockets are (default: runtime-directory of the file)");
  app.add_option("--log", log_path, "append the log to this file instead of standard error");
  app.set_version_flag("--version", ESPGATE_VERSION);
  CLI11_PARSE(app, argc, argv);
  try {
    return run(config, runtime, log_path);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
