// The caches of the CPU: NNEXT_CACHES, else the CPU itself (cpuid of x86), else the operating
// system, else what is hardly ever too much. Each level is taken from the first that knows it.
#include "caches.h"

#include <bit>
#include <fstream>
#include <initializer_list>
#include <stdexcept>
#include <string_view>

#include "environment.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace nnext {
namespace {

// Bounds of what is believed; they leave room to multiply such figures in 64 bits.
constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;
constexpr std::int64_t kLeastLine = 16;
constexpr std::int64_t kMostLine = 4096;
constexpr std::int64_t kUsualLine = 64;

// No CPU that this runs on well has a smaller data cache: less is a hypervisor's slip.
constexpr std::int64_t kLeastBytesTold = std::int64_t{8} << 10;

constexpr Cache kAssumedL1 = {index_t{32} << 10, 8, kUsualLine};
constexpr Cache kAssumedL2 = {index_t{512} << 10, 8, kUsualLine};
constexpr Cache kAssumedL3 = {index_t{4} << 20, 16, kUsualLine};

// --- numbers ---

// Digits alone, of at most kMostBytes; else nothing.
std::optional<std::int64_t> number(std::string_view text) {
  if (text.empty()) return std::nullopt;
  std::int64_t value = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') return std::nullopt;
    value = 10 * value + (digit - '0');
    if (value > kMostBytes) return std::nullopt;
  }
  return value;
}

// A number that may end in K or M.
std::optional<std::int64_t> bytes(std::string_view text) {
  int shift = 0;
  if (text.ends_with('K')) shift = 10;
  if (text.ends_with('M')) shift = 20;
  if (shift != 0) text.remove_suffix(1);
  const std::optional<std::int64_t> value = number(text);
  if (!value || *value > (kMostBytes >> shift)) return std::nullopt;
  return *value << shift;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// Nothing where these, which may be any numbers, are not the figures of a cache.
std::optional<Cache> cache_of(std::int64_t size, std::int64_t ways, std::int64_t line) {
  if (size < 1 || size > kMostBytes || ways < 1 || ways > size) return std::nullopt;
  if (line < kLeastLine || line > kMostLine || !std::has_single_bit(std::uint64_t(line))) {
    return std::nullopt;
  }
  if (size % (ways * line) != 0) return std::nullopt;
  return Cache{static_cast<index_t>(size), static_cast<index_t>(ways), static_cast<index_t>(line)};
}

// --- NNEXT_CACHES ---

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
  throw std::invalid_argument(text + " does not say what caches there are: " + why +
                              "; expected size/ways of three levels, such as 48K/12,2M/16,64M/16");
}

// `level` of the levels of `text` is called `name` in messages.
Cache parse_level(const std::string& text, std::string_view level, const std::string& name) {
  const std::string subject = name + ", " + std::string(level) + ", ";
  const std::vector<std::string_view> parts = split(level, '/');
  if (parts.size() < 2 || parts.size() > 3) {
    refuse(text, subject + "is not size/ways or size/ways/line");
  }
  const std::int64_t size = bytes(parts[0]).value_or(0);
  const std::int64_t ways = number(parts[1]).value_or(0);
  const std::int64_t line = parts.size() == 3 ? number(parts[2]).value_or(0) : kUsualLine;
  if (size == 0 || ways == 0 || line == 0) {
    refuse(text, subject + "is to have whole numbers from 1 to 1024M");
  }
  const std::optional<Cache> cache = cache_of(size, ways, line);
  if (!cache) {
    refuse(text, subject + "is no whole number of sets of " + std::to_string(ways) + " lines of " +
                     std::to_string(line) + " bytes (a power of two from 16 to 4096)");
  }
  return *cache;
}

// --- what a source lists ---

struct Listed {
  int level;
  std::int64_t size;
  std::int64_t ways;  // 0: fully associative
  std::int64_t line;
  std::int64_t sets;
  int cpus;  // that share it
};

std::optional<Cache> believed(const Listed& listed) {
  if (listed.size < kLeastBytesTold) return std::nullopt;
  if (listed.ways == 0) {
    if (listed.sets != 1 || listed.line < 1) return std::nullopt;
    return cache_of(listed.size, listed.size / listed.line, listed.line);
  }
  if (listed.ways == 1) return std::nullopt;  // a hypervisor's: no CPU of today has such caches
  const std::optional<Cache> cache = cache_of(listed.size, listed.ways, listed.line);
  return cache && cache->sets() == listed.sets ? cache : std::nullopt;
}

CachesTold told_by(const std::vector<Listed>& list) {
  CachesTold told;
  bool third = false;
  for (const Listed& listed : list) {
    const std::optional<Cache> cache = believed(listed);
    if (listed.level == 1 && !told.l1) told.l1 = cache;
    if (listed.level == 2 && !told.l2) told.l2 = cache;
    if (listed.level != 3) continue;
    third = true;
    if (!cache || told.l3) continue;
    told.l3 = cache;
    told.l3_cpus = listed.cpus;
  }
  if (told.l1 && told.l2 && !third) told.l3 = Cache{};
  return told;
}

bool complete(const CachesTold& told) { return told.l1 && told.l2 && told.l3; }

// The first word of a file; empty where there is none.
std::string word_of(const std::string& file) {
  std::string word;
  std::ifstream(file) >> word;
  return word;
}

// How many CPUs a list like 0-7,16-23 has; 1 where it is no such list.
int cpus_of_list(const std::string& text) {
  std::int64_t cpus = 0;
  for (const std::string_view range : split(text, ',')) {
    const std::vector<std::string_view> ends = split(range, '-');
    const std::optional<std::int64_t> first = number(ends.front());
    const std::optional<std::int64_t> last = number(ends.back());
    if (ends.size() > 2 || !first || !last || *last < *first) return 1;
    cpus += *last - *first + 1;
  }
  constexpr std::int64_t kMostCpus = 1 << 20;
  return cpus <= kMostCpus ? static_cast<int>(cpus) : 1;
}

// --- asking ---

#if defined(__x86_64__) || defined(__i386__)
constexpr unsigned kMostSubleaves = 16;  // should a hypervisor never come to an end

CachesTold ask_cpuid(unsigned leaf) {
  std::vector<Cpuid> subleaves;
  for (unsigned i = 0; i < kMostSubleaves; ++i) {
    Cpuid answer = {};
    if (__get_cpuid_count(leaf, i, &answer.eax, &answer.ebx, &answer.ecx, &answer.edx) == 0) break;
    subleaves.push_back(answer);
    if ((answer.eax & 31) == 0) break;
  }
  return caches_of_cpuid(subleaves);
}

// AMD's leaf is there where the bit for "topology extensions" is; Intel's CPUs never set it. It
// comes before Intel's, in which some hypervisors show a guest on an AMD CPU an old CPU's caches.
CachesTold ask_amd() {
  constexpr unsigned kTopologyExtensions = 1U << 22;
  Cpuid answer = {};
  __get_cpuid(0x80000001, &answer.eax, &answer.ebx, &answer.ecx, &answer.edx);
  return (answer.ecx & kTopologyExtensions) != 0 ? ask_cpuid(0x8000001D) : CachesTold{};
}

CachesTold ask_intel() { return ask_cpuid(4); }
#endif

#if defined(__linux__)
CachesTold ask_linux() { return caches_of_sysfs("/sys/devices/system/cpu/cpu0/cache"); }
#elif defined(__APPLE__) && !defined(__x86_64__)
std::int64_t told_by_sysctl(const char* name) {
  std::int64_t value = 0;  // some are of four bytes, the lower ones
  std::size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}

// The fast cores are level 0 of performance; a system that knows no such levels has one kind.
std::int64_t told_of_fast_cores(const char* of_level, const char* of_all) {
  const std::int64_t value = told_by_sysctl(of_level);
  return value != 0 ? value : told_by_sysctl(of_all);
}

CachesTold ask_macos() {
  return caches_of_sizes(told_of_fast_cores("hw.perflevel0.l1dcachesize", "hw.l1dcachesize"),
                         told_of_fast_cores("hw.perflevel0.l2cachesize", "hw.l2cachesize"),
                         told_of_fast_cores("hw.perflevel0.l3cachesize", "hw.l3cachesize"),
                         told_by_sysctl("hw.cachelinesize"));
}
#endif

using Source = CachesTold (*)();
// None on a system that is not named here: all is assumed.
constexpr std::initializer_list<Source> kSources = {
#if defined(__x86_64__) || defined(__i386__)
    &ask_amd,
    &ask_intel,
#endif
#if defined(__linux__)
    &ask_linux,
#elif defined(__APPLE__) && !defined(__x86_64__)
    &ask_macos,
#endif
};

// Without memory to ask with nothing is told.
CachesTold answer_of(Source ask) {
  try {
    return ask();
  } catch (...) {
    return {};
  }
}

Caches ask_machine() {
  CachesTold told;
  for (const Source ask : kSources) {
    if (!complete(told)) told = first_told(told, answer_of(ask));
  }
  return or_assumed(told);
}

Caches choose() {
  const std::string wanted = environment("NNEXT_CACHES");
  if (wanted.empty()) return ask_machine();
  try {
    return parse_caches(wanted);
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error("NNEXT_CACHES=" + std::string(error.what()));
  }
}

}  // namespace

const Caches& caches() {
  static const Caches found = choose();
  return found;
}

Caches parse_caches(const std::string& text) {
  const std::vector<std::string_view> levels = split(text, ',');
  if (levels.size() != 3) refuse(text, "the number of levels is " + std::to_string(levels.size()));
  Caches result;
  result.l1 = parse_level(text, levels[0], "level 1");
  result.l2 = parse_level(text, levels[1], "level 2");
  if (levels[2] != "0") result.l3 = parse_level(text, levels[2], "level 3");
  return result;
}

CachesTold caches_of_cpuid(const std::vector<Cpuid>& subleaves) {
  constexpr std::uint32_t kNoMore = 0;
  constexpr std::uint32_t kData = 1;
  constexpr std::uint32_t kUnified = 3;
  std::vector<Listed> list;
  for (const auto& [eax, ebx, ecx, edx] : subleaves) {
    const std::uint32_t type = eax & 31;
    if (type == kNoMore) break;
    if (type != kData && type != kUnified) continue;
    const bool fully_associative = (eax >> 9 & 1) != 0;
    const std::int64_t line = (ebx & 0xfff) + 1;
    const std::int64_t ways = (ebx >> 22) + 1;
    // A line of several partitions has a tag of its own in each, as if there were more sets.
    const std::int64_t partitions = (ebx >> 12 & 0x3ff) + 1;
    const std::int64_t sets = (std::int64_t{ecx} + 1) * partitions;
    // Sets beyond this are none of a cache, and would not leave room for the product.
    const std::int64_t size = sets <= kMostBytes ? ways * line * sets : 0;
    list.push_back({static_cast<int>(eax >> 5 & 7), size, fully_associative ? 0 : ways, line, sets,
                    static_cast<int>(eax >> 14 & 0xfff) + 1});
  }
  return told_by(list);
}

CachesTold caches_of_sysfs(const std::string& folder) {
  constexpr int kMostIndices = 16;
  std::vector<Listed> list;
  for (int i = 0; i < kMostIndices; ++i) {
    const std::string index = folder + "/index" + std::to_string(i) + "/";
    const std::string type = word_of(index + "type");
    if (type.empty()) break;
    if (type != "Data" && type != "Unified") continue;
    const auto told = [&](const char* name) { return number(word_of(index + name)).value_or(0); };
    list.push_back({static_cast<int>(told("level")), bytes(word_of(index + "size")).value_or(0),
                    told("ways_of_associativity"), told("coherency_line_size"),
                    told("number_of_sets"), cpus_of_list(word_of(index + "shared_cpu_list"))});
  }
  return told_by(list);
}

CachesTold caches_of_sizes(std::int64_t l1, std::int64_t l2, std::int64_t l3, std::int64_t line) {
  constexpr std::int64_t kWays = 8;
  std::vector<Listed> list;
  const auto add = [&](int level, std::int64_t size) {
    if (size != 0 && line > 0) list.push_back({level, size, kWays, line, size / (kWays * line), 1});
  };
  add(1, l1);
  add(2, l2);
  add(3, l3);
  return told_by(list);
}

CachesTold first_told(const CachesTold& first, const CachesTold& second) {
  CachesTold told = first;
  if (!told.l1) told.l1 = second.l1;
  if (!told.l2) told.l2 = second.l2;
  if (!told.l3) {
    told.l3 = second.l3;
    told.l3_cpus = second.l3_cpus;
  }
  return told;
}

Caches or_assumed(const CachesTold& told) {
  Caches result;
  result.l1 = told.l1.value_or(kAssumedL1);
  result.l2 = told.l2.value_or(kAssumedL2);
  // A third level that is no larger than the second would be none.
  const bool larger = kAssumedL3.size > result.l2.size;
  result.l3 = told.l3.value_or(larger ? kAssumedL3 : Cache{});
  result.l3_cpus = told.l3_cpus;
  return result;
}

}  // namespace nnext
