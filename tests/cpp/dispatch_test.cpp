// The choice of an instruction set, and every operation under each of them.
#include "nnext/dispatch.h"

#include <cstdlib>

#include "process.h"
#include "support.h"

namespace nnext::test {
namespace {

std::string isa_of_environment() {
  const char* isa = std::getenv("NNEXT_ISA");
  return isa == nullptr ? "" : isa;
}

TEST(Dispatch, PortableIsAlwaysThereAndComesLast) {
  ASSERT_FALSE(isas_available().empty());
  EXPECT_EQ(isas_available().back(), "portable");
  EXPECT_EQ(isas_compiled().back(), "portable");
}

TEST(Dispatch, AvailableAreThoseCompiledThatRunHereInTheSameOrder) {
  const std::vector<std::string> compiled = isas_compiled();
  auto place = compiled.begin();
  for (const std::string& isa : isas_available()) {
    place = std::find(place, compiled.end(), isa);
    ASSERT_NE(place, compiled.end()) << isa;
  }
}

TEST(Dispatch, TablesAreThoseOfTheNames) {
  std::vector<std::string> names;
  for (const KernelTable* table : available_tables()) names.emplace_back(table->name);
  EXPECT_EQ(names, isas_available());
}

TEST(Dispatch, UsesTheBestUnlessTheEnvironmentNamesAnother) {
  const std::string wanted = isa_of_environment();
  EXPECT_EQ(isa_in_use(), wanted.empty() ? isas_available().front() : wanted);
  EXPECT_STREQ(kernel_table().name, isa_in_use());
}

// An emulated CPU is what it was meant to be: NNEXT_TEST_ISA names its best instruction set.
TEST(Dispatch, BestIsTheOneThisMachineIsSaidToHave) {
  const char* best = std::getenv("NNEXT_TEST_ISA");
  if (best == nullptr) GTEST_SKIP() << "NNEXT_TEST_ISA says nothing";
  EXPECT_EQ(isas_available().front(), best);
}

class DispatchTo : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(EveryIsa, DispatchTo, testing::ValuesIn(isas_available()),
                         [](const auto& info) { return info.param; });

TEST_P(DispatchTo, EnvironmentVariableTakesEffect) {
  const Outcome outcome =
      run_this_program("NNEXT_ISA=" + GetParam(), "Dispatch.UsesTheBestUnlessTheEnvironment*");
  if (!outcome.could_run) GTEST_SKIP() << outcome.output;
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
}

// The kernels are tested under every instruction set here; this does it for what is built on them.
TEST_P(DispatchTo, EveryOperationPassesItsTests) {
  if (GetParam() == isa_in_use()) GTEST_SKIP() << "the instruction set in use";
  const Outcome outcome = run_this_program(
      "NNEXT_ISA=" + GetParam(),
      "Matmul/*:Elementwise/*:Dropout/*:Softmax/*:Losses/*:Embedding/*:Reduce/*:OptimizerStep/*:"
      "SameBits*/*:PackedOperands/*:Recurrent/*:Normalize/"
      "*.BitsAreTheRecordedOnes:ChosenPlan.*:Wishes.*");
  if (!outcome.could_run) GTEST_SKIP() << outcome.output;
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
}

TEST(Dispatch, UnknownNameIsRefusedWithThoseThatWouldDo) {
  const Outcome outcome =
      run_this_program("NNEXT_ISA=mmx", "Dispatch.UsesTheBestUnlessTheEnvironment*");
  if (!outcome.could_run) GTEST_SKIP() << outcome.output;
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_NE(outcome.output.find("NNEXT_ISA=mmx is not available here"), std::string::npos)
      << outcome.output;
  for (const std::string& isa : isas_available()) {
    EXPECT_NE(outcome.output.find(isa), std::string::npos) << isa << "\n" << outcome.output;
  }
}

TEST(Dispatch, EmptyNameMeansNone) {
  const Outcome outcome =
      run_this_program("NNEXT_ISA=", "Dispatch.UsesTheBestUnlessTheEnvironment*");
  if (!outcome.could_run) GTEST_SKIP() << outcome.output;
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
}

}  // namespace
}  // namespace nnext::test
