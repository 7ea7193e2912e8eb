// The list of instruction sets in order of preference, and the choice among them.
#include "dispatch.h"

#include <stdexcept>
#include <string>

#include "environment.h"
#include "nnext/dispatch.h"
#include "os.h"

namespace nnext {
namespace {

struct Candidate {
  const KernelTable* table;
  bool (*runs_here)();
};

const Candidate kCandidates[] = {
#ifdef NNEXT_HAVE_AVX512
    {&avx512::kTable, [] { return os::runs_avx512(); }},
#endif
#ifdef NNEXT_HAVE_AVX2
    {&avx2::kTable, [] { return os::runs_avx2(); }},
#endif
#ifdef NNEXT_HAVE_NEON
    {&neon::kTable, [] { return true; }},
#endif
    {&portable::kTable, [] { return true; }},
};

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

const KernelTable& choose() {
  const std::vector<const KernelTable*> tables = available_tables();
  const std::string wanted = environment("NNEXT_ISA");
  if (wanted.empty()) return *tables.front();
  for (const KernelTable* table : tables) {
    if (wanted == table->name) return *table;
  }
  throw std::runtime_error("NNEXT_ISA=" + wanted +
                           " is not available here; expected one of: " + joined(isas_available()));
}

}  // namespace

const KernelTable& kernel_table() {
  static const KernelTable& table = choose();
  return table;
}

std::vector<const KernelTable*> available_tables() {
  std::vector<const KernelTable*> tables;
  for (const Candidate& candidate : kCandidates) {
    if (candidate.runs_here()) tables.push_back(candidate.table);
  }
  return tables;
}

const char* isa_in_use() { return kernel_table().name; }

std::vector<std::string> isas_compiled() {
  std::vector<std::string> names;
  for (const Candidate& candidate : kCandidates) names.emplace_back(candidate.table->name);
  return names;
}

std::vector<std::string> isas_available() {
  std::vector<std::string> names;
  for (const KernelTable* table : available_tables()) names.emplace_back(table->name);
  return names;
}

}  // namespace nnext
