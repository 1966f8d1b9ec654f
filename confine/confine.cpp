#include "confine/confine.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <unistd.h>

#include <utility>

#include "confine/parts.hpp"

namespace espgate::confine {
namespace {

void note(Shortcomings& out, Words words) {
  if (!words.empty()) out.push_back(std::move(words));
}

}  // namespace

Shortcomings dataplane(const DataplaneNeeds& needs) {
  Shortcomings out;
  std::vector<int> kept{CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK};
  if (needs.hardware || needs.namespaces) kept.push_back(CAP_SYS_ADMIN);  // where pages are; setns
  if (needs.hardware)
    for (const int each : {CAP_SYS_RAWIO, CAP_BPF, CAP_PERFMON, CAP_SYS_RESOURCE, CAP_DAC_OVERRIDE})
      kept.push_back(each);
  note(out, keep_capabilities(kept));
  note(out, gain_nothing());
  note(out, never_calls_of_dataplane(needs.hardware));
  return out;
}

namespace {

constexpr const char* kStaysRoot = "it stays root, without capabilities: ";

// Who it is to become; nobody: it is not root, or stays it, which is told.
std::optional<User> next_user(Shortcomings& out, const std::string& name) {
  if (::geteuid() != 0) return std::nullopt;
  const std::optional<User> user = find_user(name);
  if (!user) out.push_back(kStaysRoot + ("there is no user " + name) + ", which scripts/bootstrap makes");
  return user;
}

// Root's powers go, all of them.
void give_up_privileges(Shortcomings& out, const std::optional<User>& user) {
  if (::geteuid() == 0) note(out, keep_locked());
  bound_capabilities({});
  if (user) note(out, become(*user));
  note(out, keep_capabilities({}));
  note(out, gain_nothing());
}

}  // namespace

Shortcomings control(const ControlNeeds& needs) {
  Shortcomings out;
  const int state = needs.state.empty() ? -1 : ::open(needs.state.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  std::optional<User> user = next_user(out, needs.user);
  if (user && !may_go_through(needs.sockets, *user)) {
    out.push_back(kStaysRoot + needs.sockets + " is not open to the group of " + needs.user);
    user.reset();
  }
  if (user && state >= 0) note(out, own(needs.state, *user));
  if (::geteuid() == 0) {
    note(out, leave_network());
    note(out, see_only(needs.sockets));
  }
  give_up_privileges(out, user);
  if (state >= 0) note(out, change_only(state));
  if (state >= 0) ::close(state);
  note(out, only_calls_of_control(state >= 0));
  return out;
}

Shortcomings signer(const std::string& name) {
  Shortcomings out;
  const std::optional<User> user = next_user(out, name);
  if (::geteuid() == 0) note(out, leave_network());
  give_up_privileges(out, user);
  note(out, only_calls_of_signer());
  return out;
}

}  // namespace espgate::confine
