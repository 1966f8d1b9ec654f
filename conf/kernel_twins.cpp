// Twins of the interfaces in the kernel: their names, and that these are free.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "conf/load.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr std::size_t kMostCharacters = 15;  // of an interface's name (IFNAMSIZ)
const std::string kInterfaces = "*";         // not a name: the twin is called as the interface

// Each name that the kernel has, or will have once this gateway runs, with where it comes from.
class KernelNames {
 public:
  explicit KernelNames(Errors& errors) : errors_(errors) { names_.emplace("lo", "the loopback interface"); }

  void reserve(const std::string& name, const std::string& whose) { names_.emplace(name, whose); }

  void take(const std::string& name, const Node& place) {
    if (name.empty()) return;
    const auto twin = fmt::format("another interface's twin already, on line {}", place.mark.line);
    const auto [first, is_new] = names_.emplace(name, twin);
    if (is_new) return;
    errors_.add(place.mark, fmt::format("kernel: {} is {}; expected another name for the twin, such as {}",
                                        in_quotes(name), first->second,
                                        in_quotes(("esp-" + name).substr(0, kMostCharacters))));
  }

 private:
  Errors& errors_;
  std::map<std::string, std::string> names_;
};

// The kernel interface behind `af_packet:IF`, `af_xdp:IF` or `tap:NAME`; empty: there is none.
std::string kernel_interface(const Port& port) {
  for (const std::string_view kind : {"af_packet:", "af_xdp:", "tap:"})
    if (port.device.starts_with(kind)) {
      const std::string rest = port.device.substr(kind.size());
      return rest.substr(0, rest.find(','));
    }
  return {};
}

void check_length(Errors& errors, const std::string& name, const Node& place) {
  if (name.size() > kMostCharacters)
    errors.add(place.mark, fmt::format("kernel: {} is too long for the kernel; expected a name of at most {} "
                                       "characters for the twin",
                                       in_quotes(name), kMostCharacters));
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
  KernelNames names(errors);
  for (const Port& port : configuration.ports)
    if (const std::string name = kernel_interface(port); !name.empty())
      names.reserve(
          name, fmt::format("the kernel's own interface, which is the device of {}", in_quotes(port.name)));
  const auto check = [&](const std::string& twin, const Node& place) {
    check_length(errors, twin, place);
    names.take(twin, place);
  };
  for (std::size_t i = 0; i < configuration.ports.size(); ++i)
    check(configuration.ports[i].kernel, root.at("ports").at(i).at("kernel"));
  for (std::size_t i = 0; i < configuration.tunnels.size(); ++i)
    check(configuration.tunnels[i].kernel, root.at("tunnels").at(i).at("interface").at("kernel"));
}

}  // namespace espgate::conf
