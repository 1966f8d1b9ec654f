// Twins of the interfaces in the kernel: their names, and that these are free.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

#include "conf/load.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr std::size_t kMostCharacters = 15;  // of an interface's name (IFNAMSIZ)
const std::string kInterfaces = "*";         // not a name: the twin is called as the interface

// The kernel interface behind `af_packet:IF`, `af_xdp:IF` or `tap:NAME`; empty: there is none.
std::string kernel_interface(const Port& port) {
  for (const std::string_view kind : {"af_packet:", "af_xdp:", "tap:"})
    if (port.device.starts_with(kind)) {
      const std::string rest = port.device.substr(kind.size());
      return rest.substr(0, rest.find(','));
    }
  return {};
}

// Each name that the kernel has, or will have once this gateway runs, with where it comes from. Each table's
// interfaces are in a network namespace of their own.
class Twins {
 public:
  Twins(Errors& errors, const Configuration& configuration) : errors_(errors) {
    names_[kMainTableName] = {};
    for (const Table& table : configuration.tables)
      if (!table.space.empty()) names_[table.name] = {};
    for (auto& [table, names] : names_) names.emplace("lo", "the loopback interface");
    for (const Port& port : configuration.ports)
      if (const std::string name = kernel_interface(port); !name.empty())
        names_[kMainTableName].emplace(
            name, fmt::format("the kernel's own interface, which is the device of {}", in_quotes(port.name)));
  }

  void check(const std::string& twin, const TableRef& table, const Node& place) {
    if (twin.empty()) return;
    if (twin.size() > kMostCharacters)
      errors_.add(place.mark,
                  fmt::format("kernel: {} is too long for the kernel; expected a name of at most {} "
                              "characters for the twin",
                              in_quotes(twin), kMostCharacters));
    const auto names = names_.find(table.name);
    if (names == names_.end())
      return errors_.add(place.mark,
                         fmt::format("kernel: table {} has no network namespace for twins; expected "
                                     "`namespace` there",
                                     in_quotes(table.name)));
    const auto [first, is_new] = names->second.emplace(
        twin, fmt::format("another interface's twin already, on line {}", place.mark.line));
    if (!is_new)
      errors_.add(place.mark, fmt::format("kernel: {} is {}; expected another name for the twin, such as {}",
                                          in_quotes(twin), first->second,
                                          in_quotes(("esp-" + twin).substr(0, kMostCharacters))));
  }

 private:
  using Names = std::map<std::string, std::string>;
  Errors& errors_;
  std::map<std::string, Names> names_;  // of each table that has a network namespace
};

void check_spaces(Errors& errors, const Node& root, const Configuration& configuration) {
  std::map<std::string, std::string> tables;
  for (std::size_t i = 0; i < configuration.tables.size(); ++i) {
    const Table& table = configuration.tables[i];
    if (table.space.empty()) continue;
    const auto [first, is_new] = tables.emplace(table.space, table.name);
    if (!is_new)
      errors.add(root.at("tables").at(i).at("namespace").mark,
                 fmt::format("namespace: {} is table {}'s already", in_quotes(table.space),
                             in_quotes(first->second)));
  }
}

}  // namespace

void read_twin(const Field& field, std::string& out) {
  if (field.is_scalar() && field.node.text == "false") return out.clear();
  if (field.is_scalar() && field.node.text == "true") {
    out = kInterfaces;
    return;
  }
  read_name(field, out);
}

void name_twin(std::string& twin, const std::string& interface) {
  if (twin == kInterfaces) twin = interface;
}

void check_kernel_twins(Errors& errors, const Node& root, const Configuration& configuration) {
  check_spaces(errors, root, configuration);
  Twins twins(errors, configuration);
  for (std::size_t i = 0; i < configuration.ports.size(); ++i)
    twins.check(configuration.ports[i].kernel, configuration.ports[i].table,
                root.at("ports").at(i).at("kernel"));
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i)
    twins.check(configuration.tunnels[i].kernel, configuration.tunnels[i].overlay,
                root.at("tunnels").at(i).at("interface").at("kernel"));
}

}  // namespace espgate::conf
