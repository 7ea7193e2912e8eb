// Where the caches of nnext/caches.h come from, in parts that a test can call: what each source's
// words mean. Operations need caches() alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nnext/caches.h"

namespace nnext {

// Reads the text of NNEXT_CACHES. Throws std::invalid_argument, which shows it, when it is no such
// text: a number that is none or too large, a size that is not ways x line x a number of sets.
Caches parse_caches(const std::string& text);

// What one source tells of each level. Nothing where it says nothing, or what makes no sense:
// hypervisors and emulators tell of caches of size 0, of one way, of no sets. A source that tells
// of the first two levels and does not mention the third says that there is none.
struct CachesTold {
  std::optional<Cache> l1;
  std::optional<Cache> l2;
  std::optional<Cache> l3;  // of size 0: there is none
  int l3_cpus = 1;

  bool operator==(const CachesTold&) const = default;
};

// One answer of the x86 instruction cpuid.
struct Cpuid {
  std::uint32_t eax;
  std::uint32_t ebx;
  std::uint32_t ecx;
  std::uint32_t edx;
};

// The answers of leaf 4 (Intel) or 0x8000001D (AMD), which mean the same, for subleaf 0, 1, ...
CachesTold caches_of_cpuid(const std::vector<Cpuid>& subleaves);

// A folder like /sys/devices/system/cpu/cpu0/cache of Linux.
CachesTold caches_of_sysfs(const std::string& folder);

// What macOS tells: bytes of each level and of a line, 0 where it tells nothing. Of ways it says
// nothing: 8 are assumed, as in the first level of Apple's CPUs; their larger caches have more.
CachesTold caches_of_sizes(std::int64_t l1, std::int64_t l2, std::int64_t l3, std::int64_t line);

// What `first` tells, and `second` of the levels that `first` tells nothing of.
CachesTold first_told(const CachesTold& first, const CachesTold& second);

// What was told, and where nothing was a cache that is hardly ever larger than the real one.
Caches or_assumed(const CachesTold& told);

}  // namespace nnext
