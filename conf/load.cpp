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

Node parse(std::string_view text, const std::string& name) {
  Errors errors(name);
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

// Templates are not expanded yet.
Configuration load(const Node& root, const std::string& name, const std::string& folder, Secrets secrets) {
  Reading reading{Errors(name), secrets, folder};
  Configuration configuration;
  read_gateway({reading, root, "file"}, configuration);
  check_names(reading.errors, root, configuration);
  check_addresses(reading.errors, root, configuration);
  check_manual(reading.errors, root, configuration);
  check_tables(reading.errors, root, configuration);
  check_ways(reading.errors, root, configuration);
  check_children(reading.errors, root, configuration);
  check_templates(reading.errors, root, configuration);
  check_kernel_twins(reading.errors, root, configuration);
  reading.errors.raise();
  number_tables(configuration);
  return configuration;
}

Configuration expanded(Configuration configuration) {
  expand_templates(configuration);
  return configuration;
}

ExplainedFile explain(const Node& root, Configuration configuration) {
  std::vector<ExplainedTunnel> tunnels = explain_tunnels(configuration, root);
  return {expanded(std::move(configuration)), std::move(tunnels)};
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

std::string folder_of(const std::string& path) { return std::filesystem::path(path).parent_path().string(); }

}  // namespace

Node read_tree(const std::string& path) {
  const crypto::SecretBytes bytes = read_file(path);
  return parse({reinterpret_cast<const char*>(bytes.view().data()), bytes.size()}, path);
}

Configuration load_tree(const Node& root, const std::string& path, Secrets secrets) {
  return expanded(load(root, path, folder_of(path), secrets));
}

Configuration load_file(const std::string& path, Secrets secrets) {
  return load_tree(read_tree(path), path, secrets);
}

Configuration load_text(std::string_view text, const std::string& name_for_errors, Secrets secrets) {
  return expanded(load(parse(text, name_for_errors), name_for_errors, {}, secrets));
}

ExplainedFile explain_file(const std::string& path, Secrets secrets) {
  const Node root = read_tree(path);
  return explain(root, load(root, path, folder_of(path), secrets));
}

ExplainedFile explain_text(std::string_view text, const std::string& name_for_errors, Secrets secrets) {
  const Node root = parse(text, name_for_errors);
  return explain(root, load(root, name_for_errors, {}, secrets));
}

}  // namespace espgate::conf
