#include "conf/load.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>

#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

Node parse(std::string_view text, Errors& errors) {
  try {
    return parse_yaml(text);
  } catch (const SyntaxError& error) {
    errors.add(error.mark, error.what());
    errors.raise();
    throw;  // not reached: there is an error to raise
  }
}

// Every name was checked.
void number_tables(Configuration& configuration) {
  std::map<std::string_view, TableId> numbers{{kMainTableName, kMainTable}};
  for (const Table& table : configuration.tables)
    numbers.emplace(table.name, static_cast<TableId>(numbers.size()));
  const auto number = [&](TableRef& table) { table.id = numbers.at(table.name); };
  for (Loopback& loopback : configuration.loopbacks) number(loopback.table);
  for (Port& port : configuration.ports) number(port.table);
  for (Route& route : configuration.routes) number(route.table), number(route.via_table);
  for (Tunnel& tunnel : configuration.tunnels) number(tunnel.table), number(tunnel.overlay);
  for (Group& group : configuration.groups) number(group.table);
}

struct Loaded {
  Configuration configuration;
  Node root;
};

Loaded load(std::string_view text, const std::string& name, const std::string& folder, Secrets secrets) {
  Reading reading{Errors(name), secrets, folder};
  Loaded loaded;
  auto& [configuration, root] = loaded;
  root = parse(text, reading.errors);
  read_gateway({reading, root, "file"}, configuration);
  check_names(reading.errors, root, configuration);
  check_addresses(reading.errors, root, configuration);
  check_manual(reading.errors, root, configuration);
  check_tables(reading.errors, root, configuration);
  check_ways(reading.errors, root, configuration);
  check_children(reading.errors, root, configuration);
  check_kernel_twins(reading.errors, root, configuration);
  reading.errors.raise();
  number_tables(configuration);
  return loaded;
}

ExplainedFile explain(Loaded loaded) {
  std::vector<ExplainedTunnel> tunnels = explain_tunnels(loaded.configuration, loaded.root);
  return {std::move(loaded.configuration), std::move(tunnels)};
}

[[noreturn]] void refuse_file(const std::string& path, const char* what) {
  throw Error(fmt::format("{}: can't be read: {}", path, what));
}

// The file may hold secrets: so it lies in memory that erases itself.
crypto::SecretBytes read_file(const std::string& path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
  if (!file) refuse_file(path, std::strerror(errno));
  std::setvbuf(file.get(), nullptr, _IONBF, 0);  // no second copy in stdio's buffer
  crypto::SecretBytes buffer(kMaxFileBytes + 1);
  const std::size_t length = std::fread(buffer.bytes().data(), 1, buffer.size(), file.get());
  if (std::ferror(file.get()) != 0) refuse_file(path, std::strerror(errno));
  return crypto::SecretBytes(buffer.view().first(length));
}

Loaded load_from(const std::string& path, Secrets secrets) {
  const crypto::SecretBytes bytes = read_file(path);
  const std::string_view text(reinterpret_cast<const char*>(bytes.view().data()), bytes.size());
  return load(text, path, std::filesystem::path(path).parent_path().string(), secrets);
}

}  // namespace

Configuration load_file(const std::string& path, Secrets secrets) {
  return load_from(path, secrets).configuration;
}

Configuration load_text(std::string_view text, const std::string& name_for_errors, Secrets secrets) {
  return load(text, name_for_errors, {}, secrets).configuration;
}

ExplainedFile explain_file(const std::string& path, Secrets secrets) {
  return explain(load_from(path, secrets));
}

ExplainedFile explain_text(std::string_view text, const std::string& name_for_errors, Secrets secrets) {
  return explain(load(text, name_for_errors, {}, secrets));
}

}  // namespace espgate::conf
