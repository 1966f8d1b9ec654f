#include "confine/confine.hpp"

#include <linux/capability.h>

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

}  // namespace espgate::confine
