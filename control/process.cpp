#include "control/process.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <stdexcept>

#include "channel/region.hpp"
#include "crypto/ike.hpp"
#include "crypto/signature.hpp"

namespace espgate::control {
namespace {

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

// Keys come into this process's memory: no core file, no debugger of the same user, no swap.
void protect_memory(Log& log) {
  log_shortcomings(log, confine::keep_memory_private());
  log_shortcomings(log, confine::lock_memory());
  crypto::erase_what_openssl_frees();
}

}  // namespace

int process_main(int argc, char** argv, const char* description, int (*run)(const ProcessOptions&, Log&)) {
  CLI::App app{description};
  ProcessOptions options;
  app.add_option("--config", options.config, "the gateway's YAML file")->required();
  app.add_option("--runtime", options.runtime,
                 "where the sockets are (default: runtime-directory of the file)");
  app.add_option("--log", options.log, "append the log to this file instead of standard error");
  app.set_version_flag("--version", ESPGATE_VERSION);
  CLI11_PARSE(app, argc, argv);
  try {
    const File file = open_log(options.log);
    Log log(file ? file.get() : stderr);
    protect_memory(log);
    channel::allow_many_descriptors();
    return run(options, log);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}

void settle_libraries() {
  ::tzset();
  static_cast<void>(crypto::prf(crypto::Prf::hmac_sha256, {}, {}));  // OpenSSL reads its configuration once
}

void log_shortcomings(Log& log, const confine::Shortcomings& shortcomings) {
  for (const std::string& words : shortcomings) log.warning("not confined: " + words);
}

}  // namespace espgate::control
