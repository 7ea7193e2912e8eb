// The caches of the CPU: what each source's words mean, which source is believed, and the
// environment variable.
#include "caches.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include "process.h"

namespace nnext::test {
namespace {

constexpr index_t kKiB = 1024;
constexpr index_t kMiB = 1024 * kKiB;

// --- NNEXT_CACHES ---

TEST(Caches, TextIsSizeAndWaysOfThreeLevels) {
  const Caches expected = {{48 * kKiB, 12, 64}, {2 * kMiB, 16, 64}, {64 * kMiB, 16, 64}, 1};
  EXPECT_EQ(parse_caches("48K/12,2M/16,64M/16"), expected);
  EXPECT_EQ(parse_caches("49152/12,2048K/16/64,64M/16/64"), expected);
}

TEST(Caches, TextMayNameTheLineAndNoThirdLevel) {
  const Caches found = parse_caches("128K/8/128,12M/12/128,0");
  EXPECT_EQ(found.l1, (Cache{128 * kKiB, 8, 128}));
  EXPECT_EQ(found.l2, (Cache{12 * kMiB, 12, 128}));
  EXPECT_EQ(found.l3, Cache{});
  EXPECT_EQ(found.l3.sets(), 0);
}

TEST(Caches, TextMayDescribeACacheOfOneWayOrOneSet) {
  EXPECT_EQ(parse_caches("64/1,1K/1,0").l1.sets(), 1);
  EXPECT_EQ(parse_caches("64/1,1K/16,0").l2.sets(), 1);
  EXPECT_EQ(parse_caches("64/1,1K/1,1024M/16").l3.size, 1024 * kMiB);
}

TEST(Caches, TextThatIsNoneIsRefusedAndShown) {
  for (const std::string text : {
           "abc",
           ",",
           ",,",
           "48K/12",
           "48K/12,2M/16",
           "48K/12,2M/16,",
           "48K/12,2M/16,0,0",
           "48K,2M,64M",
           "48K/12/64/1,2M/16,0",
           "48K/,2M/16,0",
           "/12,2M/16,0",
           "48K/12/,2M/16,0",
           " 48K/12,2M/16,0",
           "48K/12, 2M/16,0",
           "48k/12,2M/16,0",
           "48G/12,2M/16,0",
           "K/12,2M/16,0",
           "48KK/12,2M/16,0",
           "1.5K/12,2M/16,0",
           "0x30K/12,2M/16,0",
           "+48K/12,2M/16,0",
           // nothing, or less
           "0,2M/16,0",
           "48K/12,0,0",
           "0/12,2M/16,0",
           "48K/0,2M/16,0",
           "48K/12/0,2M/16,0",
           "48K/12,2M/16,0/16",
           "-48K/12,2M/16,0",
           "48K/-12,2M/16,0",
           "48K/12/-64,2M/16,0",
           // no whole number of sets
           "48K/7,2M/16,0",
           "100/1,2M/16,0",
           "1K/32,2M/16,0",
           "48K/12/60,2M/16,0",
           "48K/12/8,2M/16,0",
           "48K/1/8192,2M/16,0",
           "64/128,2M/16,0",
           // too large
           "1025M/1,2M/16,0",
           "1073741825/1,2M/16,0",
           "48K/1025M,2M/16,0",
           "48K/99999999999999999999,2M/16,0",
           "99999999999999999999M/12,2M/16,0",
           "18446744073709551616/12,2M/16,0",
           "17592186044416M/12,2M/16,0",
       }) {
    try {
      parse_caches(text);
      ADD_FAILURE() << text << " is taken";
    } catch (const std::invalid_argument& error) {
      const std::string message = error.what();
      EXPECT_EQ(message.find(text + " does not say what caches there are"), 0U) << message;
      EXPECT_NE(message.find("such as 48K/12,2M/16,64M/16"), std::string::npos) << message;
    }
  }
}

TEST(Caches, RefusalNamesTheLevelAtFault) {
  try {
    parse_caches("48K/12,2M/15,0");
    FAIL() << "is taken";
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("level 2, 2M/15, is no whole number of sets of 15"),
              std::string::npos)
        << error.what();
  }
}

std::string wanted() {
  const char* text = std::getenv("NNEXT_CACHES");
  return text == nullptr ? "" : text;
}

TEST(Caches, InUseAreThoseOfTheEnvironmentElseTheMachines) {
  const Caches& found = caches();
  if (!wanted().empty()) {
    EXPECT_EQ(found, parse_caches(wanted()));
    return;
  }
  for (const Cache& cache : {found.l1, found.l2, found.l3}) {
    EXPECT_EQ(cache.size, cache.sets() * cache.ways * cache.line);
  }
  EXPECT_GE(found.l1.size, 8 * kKiB);
  EXPECT_GE(found.l2.size, 8 * kKiB);
  EXPECT_GE(found.l3_cpus, 1);
}

TEST(Caches, AreTheSameForEveryThread) {
  std::vector<const Caches*> seen(4);
  std::vector<std::thread> threads;
  threads.reserve(seen.size());
  for (const Caches*& place : seen) threads.emplace_back([&place] { place = &caches(); });
  for (std::thread& thread : threads) thread.join();
  for (const Caches* place : seen) EXPECT_EQ(place, &caches());
}

TEST(Caches, EnvironmentVariableTakesEffect) {
  for (const std::string text : {"", "64K/4,256K/8,0", "128K/8/128,12M/12/128,96M/12"}) {
    const Outcome outcome = run_this_program("NNEXT_CACHES=" + text, "Caches.InUseAreThose*");
    if (!outcome.could_run) GTEST_SKIP() << outcome.output;
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  }
}

TEST(Caches, EnvironmentVariableThatSaysNoneIsRefusedWhenTheyAreAsked) {
  const Outcome outcome = run_this_program("NNEXT_CACHES=many", "Caches.InUseAreThose*");
  if (!outcome.could_run) GTEST_SKIP() << outcome.output;
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_NE(outcome.output.find("NNEXT_CACHES=many does not say what caches there are"),
            std::string::npos)
      << outcome.output;
}

// --- cpuid ---

constexpr Cpuid kNoMore = {0, 0, 0, 0};

TEST(Caches, CpuidOfSapphireRapids) {
  const std::vector<Cpuid> leaf4 = {{0xfc004121, 0x02c0003f, 0x0000003f, 0},
                                    {0xfc004122, 0x01c0003f, 0x0000003f, 0},
                                    {0xfc004143, 0x03c0003f, 0x000007ff, 0},
                                    {0xfc1fc163, 0x0380003f, 0x0001bfff, 4},
                                    kNoMore};
  const CachesTold expected = {Cache{48 * kKiB, 12, 64}, Cache{2 * kMiB, 16, 64},
                               Cache{105 * kMiB, 15, 64}, 128};
  EXPECT_EQ(caches_of_cpuid(leaf4), expected);
}

const std::vector<Cpuid> kZen4 = {{0x00004121, 0x01c0003f, 0x0000003f, 0},
                                  {0x00004122, 0x01c0003f, 0x0000003f, 0},
                                  {0x00004143, 0x01c0003f, 0x000007ff, 2},
                                  {0x0003c163, 0x03c0003f, 0x00007fff, 1},
                                  kNoMore};

TEST(Caches, CpuidOfZen4) {
  const CachesTold expected = {Cache{32 * kKiB, 8, 64}, Cache{1 * kMiB, 8, 64},
                               Cache{32 * kMiB, 16, 64}, 16};
  EXPECT_EQ(caches_of_cpuid(kZen4), expected);
}

TEST(Caches, CpuidOfZen5) {
  const std::vector<Cpuid> leaf1d = {{0x00004121, 0x02c0003f, 0x0000003f, 0},
                                     {0x00004122, 0x01c0003f, 0x0000003f, 0},
                                     {0x00004143, 0x03c0003f, 0x000003ff, 2},
                                     {0x0003c163, 0x03c0003f, 0x00007fff, 1},
                                     kNoMore};
  const CachesTold expected = {Cache{48 * kKiB, 12, 64}, Cache{1 * kMiB, 16, 64},
                               Cache{32 * kMiB, 16, 64}, 16};
  EXPECT_EQ(caches_of_cpuid(leaf1d), expected);
}

TEST(Caches, CpuidThatTellsOfTwoLevelsSaysThereIsNoThird) {
  const CachesTold told = caches_of_cpuid({kZen4[0], kZen4[1], kZen4[2], kNoMore});
  EXPECT_EQ(told.l3, Cache{});
  EXPECT_EQ(told.l3_cpus, 1);
}

TEST(Caches, CpuidOfNothingTellsNothing) {
  EXPECT_EQ(caches_of_cpuid({}), CachesTold{});
  EXPECT_EQ(caches_of_cpuid({kNoMore}), CachesTold{});
  // what comes after the end is not read
  EXPECT_EQ(caches_of_cpuid({kNoMore, kZen4[0]}), CachesTold{});
}

TEST(Caches, CpuidThatMakesNoSenseTellsNothing) {
  const Cpuid everywhere = {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff};
  EXPECT_EQ(caches_of_cpuid(std::vector<Cpuid>(16, everywhere)), CachesTold{});
  for (const Cpuid& answer :
       std::vector<Cpuid>{{0x121, 0, 0, 0},                    // a line of a byte
                          {0x121, 0x0000003f, 0x000001ff, 0},  // one way, 32 KiB
                          {0x121, 0x01c0003f, 0x00000000, 0},  // one set of 8 ways, 512 bytes
                          {0x121, 0x01c00040, 0x0000003f, 0},  // lines of 65 bytes
                          {0x121, 0x01c0003f, 0xffffffff, 0},  // 2 TiB
                          {0x121, 0xffffffff, 0xffffffff, 0},  // 2^64 bytes
                          {0x321, 0x0000003f, 0x00000000, 0},  // fully associative, of one line
                          {0x321, 0x01c0003f, 0x0000003f, 0},  // fully associative, but of 64 sets
                          {0x125, 0x01c0003f, 0x0000003f, 0}}) {  // of an unknown type
    EXPECT_EQ(caches_of_cpuid({answer, kNoMore}), CachesTold{}) << std::hex << answer.ebx;
  }
}

TEST(Caches, CpuidOfAThirdLevelThatMakesNoSenseLeavesItOpen) {
  const CachesTold told = caches_of_cpuid({kZen4[0], kZen4[2], {0x163, 0x3f, 0, 0}, kNoMore});
  EXPECT_TRUE(told.l1 && told.l2);
  EXPECT_EQ(told.l3, std::nullopt);
}

TEST(Caches, CpuidOfSeveralCachesOfALevelMeansTheFirst) {
  std::vector<Cpuid> answers(kZen4.begin(), kZen4.end() - 1);
  for (const std::uint32_t level : {1U, 2U, 3U}) {
    answers.push_back({1U << 14 | level << 5 | 3, 0x02c0003f, 0x000000ff, 0});  // 192 KiB
  }
  answers.push_back(kNoMore);
  EXPECT_EQ(caches_of_cpuid(answers), caches_of_cpuid(kZen4));
}

TEST(Caches, CpuidOfAFullyAssociativeCacheHasOneSet) {
  // 512 ways of 64 bytes
  const CachesTold told = caches_of_cpuid({{0x321, 511U << 22 | 63, 0, 0}, kNoMore});
  EXPECT_EQ(told.l1, (Cache{32 * kKiB, 512, 64}));
  EXPECT_EQ(told.l1.value_or(Cache{}).sets(), 1);
}

TEST(Caches, CpuidOfLinesInPartitionsCountsThem) {
  // 4 ways of 2 partitions of 64 bytes, 64 sets
  const CachesTold told = caches_of_cpuid({{0x121, 3U << 22 | 1U << 12 | 63, 63, 0}, kNoMore});
  EXPECT_EQ(told.l1, (Cache{32 * kKiB, 4, 64}));
}

// --- Linux ---

// A folder like cpu0/cache, gone when the test ends.
class Sysfs {
 public:
  Sysfs() {
    std::string name = (std::filesystem::temp_directory_path() / "nnext_caches_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    folder_ = name;
  }
  Sysfs(const Sysfs&) = delete;
  Sysfs& operator=(const Sysfs&) = delete;
  ~Sysfs() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  // The next index: files and what they say.
  void add(const std::vector<std::pair<std::string, std::string>>& files) {
    const std::filesystem::path index = folder_ / ("index" + std::to_string(indices_++));
    std::filesystem::create_directory(index);
    for (const auto& [name, text] : files) std::ofstream(index / name) << text << "\n";
  }
  void add(const std::string& level, const std::string& type, const std::string& size,
           const std::string& ways, const std::string& sets, const std::string& cpus) {
    add({{"level", level},
         {"type", type},
         {"size", size},
         {"ways_of_associativity", ways},
         {"number_of_sets", sets},
         {"coherency_line_size", "64"},
         {"shared_cpu_list", cpus}});
  }

  CachesTold told() const { return caches_of_sysfs(folder_.string()); }

 private:
  std::filesystem::path folder_;
  int indices_ = 0;
};

TEST(Caches, SysfsOfNeoverseV1) {
  Sysfs sysfs;
  sysfs.add("1", "Data", "64K", "4", "256", "0");
  sysfs.add("1", "Instruction", "64K", "4", "256", "0");
  sysfs.add("2", "Unified", "1024K", "8", "2048", "0");
  sysfs.add("3", "Unified", "32768K", "16", "32768", "0-31,64-95");
  const CachesTold expected = {Cache{64 * kKiB, 4, 64}, Cache{1 * kMiB, 8, 64},
                               Cache{32 * kMiB, 16, 64}, 64};
  EXPECT_EQ(sysfs.told(), expected);
}

TEST(Caches, SysfsOfCortexA72HasNoThirdLevel) {
  Sysfs sysfs;
  sysfs.add("1", "Data", "32K", "2", "256", "0");
  sysfs.add("1", "Instruction", "48K", "3", "256", "0");
  sysfs.add("2", "Unified", "1024K", "16", "1024", "0-3");
  const CachesTold expected = {Cache{32 * kKiB, 2, 64}, Cache{1 * kMiB, 16, 64}, Cache{}, 1};
  EXPECT_EQ(sysfs.told(), expected);
}

// A cache of one set may have its ways left out, or told as 0.
TEST(Caches, SysfsOfAFullyAssociativeCacheHasOneSet) {
  Sysfs sysfs;
  sysfs.add("1", "Data", "32K", "0", "1", "0");
  sysfs.add({{"level", "2"},
             {"type", "Unified"},
             {"size", "256K"},
             {"number_of_sets", "1"},
             {"coherency_line_size", "128"}});
  EXPECT_EQ(sysfs.told().l1, (Cache{32 * kKiB, 512, 64}));
  EXPECT_EQ(sysfs.told().l2, (Cache{256 * kKiB, 2048, 128}));
}

TEST(Caches, SysfsOfAFullyAssociativeCacheWithoutALineTellsNothing) {
  Sysfs sysfs;
  sysfs.add({{"level", "1"}, {"type", "Data"}, {"size", "32K"}, {"number_of_sets", "1"}});
  EXPECT_EQ(sysfs.told(), CachesTold{});
}

TEST(Caches, SysfsIsReadUpToItsSixteenthIndex) {
  Sysfs sysfs;
  for (int i = 0; i < 15; ++i) sysfs.add("1", "Instruction", "64K", "4", "256", "0");
  sysfs.add("1", "Data", "32K", "8", "64", "0");
  sysfs.add("2", "Unified", "1024K", "8", "2048", "0");
  EXPECT_EQ(sysfs.told().l1, (Cache{32 * kKiB, 8, 64}));
  EXPECT_EQ(sysfs.told().l2, std::nullopt);
}

TEST(Caches, SysfsThatIsNotThereTellsNothing) {
  EXPECT_EQ(caches_of_sysfs("/no/such/folder"), CachesTold{});
  EXPECT_EQ(Sysfs().told(), CachesTold{});
}

TEST(Caches, SysfsThatMakesNoSenseTellsNothing) {
  const auto told = [](const std::string& size, const std::string& ways, const std::string& sets) {
    Sysfs sysfs;
    sysfs.add("1", "Data", size, ways, sets, "0");
    return sysfs.told();
  };
  ASSERT_NE(told("32K", "8", "64"), CachesTold{});
  for (const auto& [size, ways, sets] :
       std::vector<std::array<std::string, 3>>{{"0K", "8", "64"},    // nothing
                                               {"32K", "8", "0"},    // no sets
                                               {"32K", "0", "64"},   // no ways, but many sets
                                               {"32K", "1", "512"},  // one way
                                               {"32K", "8", "63"},   // other sets than the size has
                                               {"4K", "8", "8"},     // hardly anything
                                               {"-32K", "8", "64"},
                                               {"32K", "-8", "64"},
                                               {"99999999999999999999K", "8", "64"},
                                               {"32K", "8", "99999999999999999999"},
                                               {"many", "some", "few"},
                                               {"", "", ""}}) {
    EXPECT_EQ(told(size, ways, sets), CachesTold{}) << size << " " << ways << " " << sets;
  }
  Sysfs sysfs;
  sysfs.add({{"type", "Data"}});
  sysfs.add({{"type", "\xff\xfe"}, {"level", "1"}});
  EXPECT_EQ(sysfs.told(), CachesTold{});
}

TEST(Caches, SysfsListsOfCpusThatAreNoneMeanOne) {
  for (const auto& [list, cpus] : std::vector<std::pair<std::string, int>>{{"0", 1},
                                                                           {"0,2,4-5", 4},
                                                                           {"7-0", 1},
                                                                           {"0-", 1},
                                                                           {"0-3-5", 1},
                                                                           {"", 1},
                                                                           {"all", 1},
                                                                           {"0-1073741823", 1}}) {
    Sysfs sysfs;
    sysfs.add("3", "Unified", "32768K", "16", "32768", list);
    EXPECT_EQ(sysfs.told().l3_cpus, cpus) << list;
  }
}

// --- macOS ---

TEST(Caches, SizesOfMacosGetEightWays) {
  const CachesTold told = caches_of_sizes(128 * kKiB, 12 * kMiB, 0, 128);
  const CachesTold expected = {Cache{128 * kKiB, 8, 128}, Cache{12 * kMiB, 8, 128}, Cache{}, 1};
  EXPECT_EQ(told, expected);
}

TEST(Caches, SizesThatMakeNoSenseTellNothing) {
  EXPECT_EQ(caches_of_sizes(0, 0, 0, 0), CachesTold{});
  EXPECT_EQ(caches_of_sizes(128 * kKiB, 12 * kMiB, 0, 0), CachesTold{});
  EXPECT_EQ(caches_of_sizes(128 * kKiB, 12 * kMiB, 0, -128), CachesTold{});
  EXPECT_EQ(caches_of_sizes(-1, 1000, 64 * kKiB * kMiB, 128), CachesTold{});
}

// --- one source after another ---

constexpr Cache kOne = {16 * kKiB, 4, 64};
constexpr Cache kOther = {64 * kKiB, 8, 64};

TEST(Caches, EachLevelIsTheFirstOneTold) {
  const CachesTold first = {kOne, std::nullopt, std::nullopt, 1};
  const CachesTold second = {kOther, kOther, kOther, 8};
  EXPECT_EQ(first_told(first, second), (CachesTold{kOne, kOther, kOther, 8}));
  EXPECT_EQ(first_told(second, first), second);
  // that there is no third level is an answer
  const CachesTold no_third = {kOne, kOne, Cache{}, 1};
  EXPECT_EQ(first_told(no_third, second), no_third);
  EXPECT_EQ(first_told(CachesTold{}, CachesTold{}), CachesTold{});
}

TEST(Caches, WhatNobodyTellsIsAssumedSmall) {
  const Caches assumed = {{32 * kKiB, 8, 64}, {512 * kKiB, 8, 64}, {4 * kMiB, 16, 64}, 1};
  EXPECT_EQ(or_assumed({}), assumed);
  EXPECT_EQ(or_assumed({kOther, {}, {}, 1}), (Caches{kOther, assumed.l2, assumed.l3, 1}));
  EXPECT_EQ(or_assumed({{}, kOther, {}, 1}), (Caches{assumed.l1, kOther, assumed.l3, 1}));
  EXPECT_EQ(or_assumed({{}, {}, kOther, 6}), (Caches{assumed.l1, assumed.l2, kOther, 6}));
  EXPECT_EQ(or_assumed({{}, {}, Cache{}, 1}), (Caches{assumed.l1, assumed.l2, Cache{}, 1}));
}

TEST(Caches, NoThirdLevelIsAssumedThatWouldBeNoLargerThanTheSecond) {
  const Cache large = {12 * kMiB, 12, 128};
  EXPECT_EQ(or_assumed({kOther, large, {}, 1}).l3, Cache{});
}

}  // namespace
}  // namespace nnext::test
