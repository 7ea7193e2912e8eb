// Every way through the matrix product on every shape, by wishing for it, and the choices that are
// made where nothing is wished.
#include "plan.h"

#include "matrix.h"
#include "nnext/matmul.h"
#include "plans.h"

namespace nnext::test {
namespace {

// --- every plan has the same bits --------------------------------------------------------------

struct Shape {
  index_t m;
  index_t k;
  index_t n;
};

// Blocks so small that a few rows and columns fill several, and none divides the shapes.
constexpr index_t kSmallRows = 96;
constexpr index_t kSmallGroup = 36;  // the last of a block is no whole one
constexpr index_t kSmallK = 16;
constexpr index_t kSmallColumns = 72;

std::vector<PlanWishes> all_wishes() {
  std::vector<PlanWishes> all;
  for (const bool transposed : {false, true}) {
    for (const Order order : {Order::kPanels, Order::kRuns, Order::kColumns}) {
      for (const bool packs_a : {false, true}) {
        for (const bool packs_b : {false, true}) {
          for (const bool small : {false, true}) {
            PlanWishes w{.transposed = transposed,
                         .order = order,
                         .packs_a = packs_a,
                         .packs_b = packs_b,
                         .fetches_c = small};
            if (small) {
              w.tile_vectors = 1;
              w.tile_rows = 5;
              w.group_rows = kSmallGroup;
              w.mc = kSmallRows;
              w.kc = kSmallK;
              w.nc = kSmallColumns;
            }
            all.push_back(w);
          }
        }
      }
    }
  }
  return all;
}

std::string text(const PlanWishes& w) {
  const auto flag = [](const std::optional<bool>& wish) { return wish.value_or(false); };
  return "order " + std::to_string(static_cast<int>(w.order.value_or(Order::kPanels))) +
         (flag(w.transposed) ? ", transposed" : "") + (flag(w.packs_a) ? ", A packed" : "") +
         (flag(w.packs_b) ? ", B packed" : "") + (w.mc ? ", small blocks" : "");
}

template <class T>
class EveryPlan : public testing::Test {};
TYPED_TEST_SUITE(EveryPlan, Reals, RealNames);

// The product of real numbers bit by bit against the ordered chain.
template <class T>
void expect_chain(const Shape& s, const Layout& la, const Layout& lb, const Layout& lc,
                  SumInto into, int threads, const std::vector<PlanWishes>& all) {
  const Matrix<T> a(s.m, s.k, la, /*seed=*/21, &real_number<T>);
  const Matrix<T> b(s.k, s.n, lb, /*seed=*/22, &real_number<T>);
  const Array<T> bias(s.n, /*seed=*/23, &real_number<T>);
  const Matrix<T> start(s.m, s.n, lc, /*seed=*/24, &real_number<T>);
  const bool reads = into != SumInto::kOverwrite;
  const Array<T> expected = ordered_chain(a, b, bias, reads ? &start : nullptr, into);
  const ThreadsInUse in_use(threads);
  for (const PlanWishes& wishes : all) {
    const Wishing wishing(wishes);
    Matrix<T> c(s.m, s.n, lc);
    if (reads) c = start;
    matmul<T>(a.view(), b.view(), c.view(), bias.data(), into);
    ASSERT_TRUE(c.holds(expected))
        << s.m << " x " << s.k << " x " << s.n << ", A " << la.name << ", B " << lb.name << ", C "
        << lc.name << ", into " << static_cast<int>(into) << ": " << text(wishes);
  }
}

TYPED_TEST(EveryPlan, IsTheOrderedChain) {
  const std::vector<PlanWishes> all = all_wishes();
  const Layout& apart = kLayouts[4];
  const Layout* const layouts[][3] = {
      {&kRowMajor, &kRowMajor, &kRowMajor},   {&kRowMajor, &kTransposed, &kPadded},
      {&kTransposed, &kRowMajor, &kRowMajor}, {&kTransposed, &kTransposed, &kTransposed},
      {&kPadded, &kRowMajor, &kTransposed},   {&apart, &apart, &kRowMajor}};
  int turn = 0;
  for (const Shape& s : {Shape{1, 33, 150}, Shape{7, 0, 10}, Shape{13, 1, 65}, Shape{50, 35, 17},
                         Shape{101, 17, 75}, Shape{8, 40, 81}, Shape{60, 4, 1}}) {
    for (const auto& layout : layouts) {
      // Seven shapes of six layouts: each shape and each layout meets all three.
      const auto into = static_cast<SumInto>((turn + turn / 6) % 3);
      expect_chain<TypeParam>(s, *layout[0], *layout[1], *layout[2], into, 1 + turn++ % 3, all);
    }
  }
}

// Blocks of the caches' own sizes, in plans that only large operands get by themselves.
TYPED_TEST(EveryPlan, OfSeveralLargeBlocksIsTheOrderedChain) {
  const PlanWishes packs{.packs_a = true, .packs_b = true};
  const PlanWishes in_place{.packs_a = false, .packs_b = false};
  for (const SumInto into : {SumInto::kOverwrite, SumInto::kContinue, SumInto::kAdd}) {
    expect_chain<TypeParam>({5, 2100, 33}, kRowMajor, kRowMajor, kRowMajor, into, 1,
                            {{}, packs, in_place});
    expect_chain<TypeParam>({150, 1030, 9}, kTransposed, kTransposed, kRowMajor, into, 2,
                            {{}, packs, in_place});
  }
}

// Rows of A in several groups, the last block of k shorter than the others.
TYPED_TEST(EveryPlan, OfSeveralPackedGroupsIsTheOrderedChain) {
  const PlanWishes groups{
      .transposed = false, .packs_a = true, .packs_b = true, .mc = 96, .kc = 64};
  for (const Layout& layout : {kRowMajor, kTransposed}) {
    expect_chain<TypeParam>({150, 150, 40}, layout, kRowMajor, kRowMajor, SumInto::kContinue, 1,
                            {groups});
  }
}

// Sums of several chains go over one block of columns after another.
TYPED_TEST(EveryPlan, OfLongSumsIsTheRule) {
  for (const SumInto into : {SumInto::kOverwrite, SumInto::kContinue, SumInto::kAdd}) {
    expect_chain<TypeParam>({2, kLongestChain + 3, 150}, kRowMajor, kRowMajor, kRowMajor, into, 1,
                            {{.transposed = false, .nc = 64}, {.transposed = true, .nc = 1}});
  }
}

// --- what is chosen ----------------------------------------------------------------------------

constexpr index_t kKiB = 1024;
constexpr index_t kMiB = 1024 * kKiB;
const Caches kCascadeLake{{32 * kKiB, 8, 64}, {1 * kMiB, 16, 64}, {36608 * kKiB, 11, 64}, 2};
const Caches kZen4{{32 * kKiB, 8, 64}, {1 * kMiB, 8, 64}, {32 * kMiB, 16, 64}, 16};
const Caches kZen5{{48 * kKiB, 12, 64}, {1 * kMiB, 16, 64}, {32 * kMiB, 16, 64}, 16};
const Caches kSapphireRapids{{48 * kKiB, 12, 64}, {2 * kMiB, 16, 64}, {60 * kMiB, 15, 64}, 64};
const Caches kSmall{{32 * kKiB, 8, 64}, {256 * kKiB, 4, 64}, {}, 1};
const Caches kTiny{{64, 1, 64}, {64, 1, 64}, {}, 1};
const Caches kEvery[] = {kZen4, kZen5, kSapphireRapids, kSmall, kTiny};

// The plan of x W (nn), dout W^T (nt) or x^T dout (tn) on one thread.
template <class T>
Plan plan_of(const std::string& form, const Shape& s, const Caches& caches, int threads = 1) {
  Problem<T> p{};
  p.into = SumInto::kOverwrite;
  const auto matrix = [](index_t rows, index_t cols, bool transposed) {
    const MatrixView<const T> stored{nullptr, transposed ? cols : rows, transposed ? rows : cols,
                                     transposed ? rows : cols, 1};
    return transposed ? stored.transposed() : stored;
  };
  const bool nn = form == "nn";
  const bool nt = form == "nt";
  const Shape product = nn ? s : nt ? Shape{s.m, s.n, s.k} : Shape{s.k, s.m, s.n};
  p.a = matrix(product.m, product.k, form == "tn");
  p.b = matrix(product.k, product.n, nt);
  p.c = {nullptr, product.m, product.n, product.n, 1};
  return plan_product(p, kernels<T>(), caches, threads);
}

TEST(LinesKept, AreFewAtStridesThatAreAPowerOfTwo) {
  const Cache& l1 = kZen5.l1;  // 64 sets of 12
  EXPECT_EQ(lines_kept(l1, 4096, 64), 12);
  EXPECT_EQ(lines_kept(l1, 8192, 64), 12);
  EXPECT_EQ(lines_kept(l1, -4096, 64), 12);
  EXPECT_EQ(lines_kept(l1, 0, 64), 12);
  EXPECT_EQ(lines_kept(l1, 2048, 64), 24);
  EXPECT_EQ(lines_kept(l1, 2048, 256), 96);
  EXPECT_EQ(lines_kept(l1, 64, 64), 768);
  EXPECT_EQ(lines_kept(l1, 3 * 1024, 64), 48);
  for (const index_t stride : {4, 100, 4000, 3136, 64 * 63}) {
    EXPECT_EQ(lines_kept(l1, stride, 64), 768) << stride;
  }
  EXPECT_EQ(lines_kept({}, 64, 64), 0);
}

template <class T>
bool tiles_are_lines() {
  const Kernels<T>& table = kernels<T>();
  return table.tile_vectors * table.lanes * index_t{sizeof(T)} <= kZen5.l1.line;
}

TEST(ChosenPlan, BlocksFitTheCaches) {
  for (const Caches& caches : kEvery) {
    for (const index_t rows : {200, 2048}) {
      const Plan plan = plan_of<float>("nn", {rows, 2048, 2048}, caches);
      EXPECT_GE(plan.mc, 48);
      EXPECT_GE(plan.kc, 256);
      EXPECT_GE(plan.nc, kMaxTileVectors * kMaxLanes);
      EXPECT_EQ(plan.nc % (kMaxTileVectors * kMaxLanes), 0);
      if (caches == kTiny) continue;
      EXPECT_LT(4 * plan.kc * (plan.mc + kMaxTileVectors * kMaxLanes), caches.l2.size);
      EXPECT_LE(4 * plan.kc * plan.nc, std::max(caches.l2.size, caches.l3.size / 2));
    }
  }
  const index_t width = kernels<float>().tile_vectors * kernels<float>().lanes;
  if (width == 64) {
    EXPECT_EQ(plan_of<float>("nn", {512, 512, 512}, kZen5).mc, 96);
    EXPECT_EQ(plan_of<float>("nn", {512, 512, 512}, kSapphireRapids).mc, 240);
  }
  EXPECT_EQ(plan_of<float>("nn", {512, 512, 512}, kZen5).kc, 1024);
}

TEST(ChosenPlan, PacksBThatFallsIntoFewSets) {
  EXPECT_TRUE(plan_of<float>("nn", {1024, 1024, 1024}, kZen5).packs_b);
  EXPECT_TRUE(plan_of<float>("nn", {128, 784, 512}, kSapphireRapids).packs_b);
  EXPECT_TRUE(plan_of<double>("nn", {512, 512, 512}, kSapphireRapids).packs_b);
  EXPECT_FALSE(plan_of<float>("nn", {32, 784, 256}, kZen5).packs_b);
  EXPECT_FALSE(plan_of<float>("nn", {32, 784, 256}, kSapphireRapids).packs_b);
  EXPECT_FALSE(plan_of<float>("nn", {8, 1024, 1024}, kZen5).packs_b);
  // A stride that is no power of two keeps more of it, and is read where it lies, but line by line.
  EXPECT_EQ(plan_of<float>("nn", {128, 1000, 1000}, kZen5).packs_b, tiles_are_lines<float>());
  EXPECT_EQ(plan_of<float>("nn", {256, 256, 256}, kZen5).packs_b, tiles_are_lines<float>());
  EXPECT_FALSE(plan_of<float>("nn", {63, 256, 256}, kZen5).packs_b);
  EXPECT_EQ(plan_of<float>("tn", {700, 100, 10000}, kZen4).packs_b, tiles_are_lines<float>());
  EXPECT_FALSE(plan_of<float>("nn", {100, 100, 10000}, kZen4).packs_b);
  // Rows that are not a multiple of a line apart: two lines each.
  EXPECT_EQ(plan_of<float>("nn", {100, 200, 1001}, kZen4).packs_b, tiles_are_lines<float>());
  EXPECT_FALSE(plan_of<float>("nn", {100, 200, 1008}, kZen4).packs_b);
  // Unless it comes from memory, for more than a few rows, or by lines that do not stay.
  EXPECT_EQ(plan_of<float>("nn", {100, 700, 10000}, kZen5).packs_b, tiles_are_lines<float>());
  EXPECT_TRUE(plan_of<float>("nn", {700, 700, 10000}, kZen5).packs_b);
}

TEST(ChosenPlan, PacksAThatLiesOnManyPages) {
  for (const Caches& caches : {kCascadeLake, kZen4, kZen5, kSapphireRapids}) {
    EXPECT_TRUE(plan_of<float>("tn", {85, 784, 512}, caches).packs_a);
    EXPECT_TRUE(plan_of<double>("tn", {65, 784, 512}, caches).packs_a);
    const Wishing as_it_stands({.transposed = false});
    EXPECT_TRUE(plan_of<float>("tn", {128, 784, 128}, caches).packs_a);
    EXPECT_FALSE(plan_of<float>("tn", {128, 784, 127}, caches).packs_a);  // comes back too rarely
  }
}

TEST(ChosenPlan, PacksAThatFallsIntoFewSets) {
  for (const Caches& caches : {kZen4, kZen5, kSapphireRapids}) {
    EXPECT_TRUE(plan_of<float>("tn", {512, 512, 512}, caches).packs_a);
    EXPECT_TRUE(plan_of<float>("tn", {256, 256, 256}, caches).packs_a);
    // Less than half of what the first level keeps, on 64 pages at most.
    EXPECT_FALSE(plan_of<float>("tn", {84, 784, 512}, caches).packs_a);
    EXPECT_FALSE(plan_of<double>("tn", {64, 784, 512}, caches).packs_a);
    EXPECT_TRUE(plan_of<double>("tn", {256, 784, 512}, caches).packs_a);
    EXPECT_TRUE(plan_of<float>("tn", {512, 512, 128}, caches).packs_a);
    {
      const Wishing as_it_stands({.transposed = false});
      EXPECT_FALSE(plan_of<float>("tn", {512, 512, 127}, caches).packs_a);
      // With tiles of one line also for narrow rows of C, where all of A falls into one set.
      const bool lines = tiles_are_lines<float>();
      EXPECT_EQ(plan_of<float>("tn", {512, 1024, 127}, caches).packs_a, lines);
      EXPECT_EQ(plan_of<float>("tn", {512, 1024, 32}, caches).packs_a, lines);
      EXPECT_FALSE(plan_of<float>("tn", {512, 1024, 31}, caches).packs_a);
      EXPECT_FALSE(plan_of<float>("tn", {32, 1024, 64}, caches).packs_a);
    }
    // Nor where columns are closer than a line.
    EXPECT_FALSE(plan_of<float>("tn", {1024, 10, 128}, caches).packs_a);
    EXPECT_FALSE(plan_of<float>("nn", {512, 512, 512}, caches).packs_a);
    // Rows of k of two elements: eight of them share a line.
    EXPECT_FALSE(plan_of<float>("tn", {1024, 2, 128}, caches).packs_a);
  }
}

TEST(ChosenPlan, RunsAlongLargeOperands) {
  EXPECT_EQ(plan_of<float>("nn", {1, 1024, 1024}, kZen5).order, Order::kRuns);
  EXPECT_EQ(plan_of<float>("tn", {1, 1024, 1024}, kZen5).order, Order::kRuns);
  EXPECT_EQ(plan_of<float>("nt", {1, 1024, 1024}, kZen5).order, Order::kColumns);
  EXPECT_EQ(plan_of<float>("nn", {64, 64, 64}, kZen5).order, Order::kPanels);
  const Plan wide = plan_of<float>("tn", {48, 256, 128256}, kZen5);
  EXPECT_EQ(wide.order, tiles_are_lines<float>() ? Order::kPanels : Order::kRuns);
  EXPECT_TRUE(wide.fetches_c);
  // Where A or B falls into few sets both are packed.
  for (const Caches& caches : {kZen4, kZen5, kSapphireRapids}) {
    const Plan packed = plan_of<float>("tn", {256, 2048, 2048}, caches);
    EXPECT_EQ(packed.order, Order::kPanels);
    EXPECT_TRUE(packed.packs_a && packed.packs_b && packed.fetches_c);
    EXPECT_EQ(plan_of<float>("nn", {4096, 64, 1024}, caches).order, Order::kPanels);
  }
}

TEST(ChosenPlan, RunsFromMoreThanHalfOfTheSecondLevel) {
  for (const Caches& caches : {kZen4, kZen5, kSapphireRapids}) {
    const index_t cols = caches.l2.size / 2 / 400;  // of 100 rows of B, in all sets
    EXPECT_EQ(plan_of<float>("nn", {1, 100, cols}, caches).order, Order::kPanels);
    EXPECT_EQ(plan_of<float>("nn", {1, 100, cols + 1}, caches).order, Order::kRuns);
  }
  Caches roomy = kZen4;
  roomy.l2.size = index_t{12} << 20;
  EXPECT_EQ(plan_of<float>("nn", {1, 1024, 1024}, roomy).order, Order::kRuns);
}

TEST(ChosenPlan, RunsWhereLinesOfBPushEachOtherOutOfTheFirstLevel) {
  const index_t most = tiles_are_lines<float>() ? 4 : 8;  // rows of C
  EXPECT_EQ(plan_of<float>("nn", {1, 128, 512}, kZen5).order, Order::kRuns);
  EXPECT_EQ(plan_of<float>("nn", {1, 24, 512}, kZen5).order, Order::kPanels);   // as many as stay
  EXPECT_EQ(plan_of<float>("nn", {1, 128, 500}, kZen5).order, Order::kPanels);  // in all sets
  EXPECT_EQ(plan_of<float>("nn", {most, 128, 512}, kZen5).order, Order::kRuns);
  EXPECT_EQ(plan_of<float>("nn", {most + 1, 128, 512}, kZen5).order, Order::kPanels);
}

TEST(ChosenPlan, RunsOfSomeRowsOfABThatDoesNotStay) {
  const Kernels<float>& table = kernels<float>();
  for (const index_t rows : {10, 16, 48}) {
    const Plan plan = plan_of<float>("nn", {rows, 1024, 1024}, kZen5);
    EXPECT_EQ(plan.order, Order::kRuns) << rows;
    EXPECT_GE(table.tile_rows[plan.tile_vectors], plan.mc);
    EXPECT_EQ(rows % plan.mc, rows == 16 && tiles_are_lines<float>() ? 4 : 0);  // as even as can be
  }
  EXPECT_EQ(plan_of<float>("nn", {49, 1024, 1024}, kZen5).order, Order::kPanels);
  EXPECT_EQ(plan_of<float>("nn", {16, 512, 512}, kZen5).order, Order::kPanels);
}

TEST(ChosenPlan, RunsPackTheFewRowsOfABInColumns) {
  const Plan plan = plan_of<float>("nt", {500, 1024, 2}, kZen5);
  EXPECT_EQ(plan.order, Order::kRuns);
  EXPECT_TRUE(plan.packs_b);
  EXPECT_EQ(plan_of<float>("nt", {500, 1024, 17}, kZen5).order, Order::kPanels);
}

TEST(ChosenPlan, RunsAlongALargeCWhileLinesOfAAreNotTooMany) {
  const Order order = tiles_are_lines<float>() ? Order::kPanels : Order::kRuns;
  EXPECT_EQ(plan_of<float>("tn", {48, 768, 20000}, kZen4).order, order);
  EXPECT_EQ(plan_of<float>("tn", {128, 512, 10000}, kZen4).order, Order::kPanels);
}

TEST(ChosenPlan, FewRowsOfAAreNotPackedIntoAGroupOfMany) {
  const Wishing as_it_stands({.transposed = false});
  for (const index_t rows : {1, 8, 9}) {  // columns of a wider matrix, 8 KiB apart
    Problem<float> p{};
    p.a = {nullptr, rows, 512, 1, 2048};
    p.b = {nullptr, 512, 128, 128, 1};
    p.c = {nullptr, rows, 128, 128, 1};
    const Plan plan = plan_product(p, kernels<float>(), kZen4, 1);
    EXPECT_EQ(plan.packs_a, rows > 8) << rows;
  }
}

TEST(ChosenPlan, ARowOfBRepeatedIsNeitherPackedNorReadInRuns) {
  const Wishing as_it_stands({.transposed = false});
  for (const index_t rows : {2, 300}) {
    Problem<float> p{};
    p.a = {nullptr, rows, 700, 700, 1};
    p.b = {nullptr, 700, 128, 0, 1};
    p.c = {nullptr, rows, 128, 128, 1};
    const Plan plan = plan_product(p, kernels<float>(), kZen4, 1);
    EXPECT_EQ(plan.order, Order::kPanels) << rows;
    EXPECT_FALSE(plan.packs_b) << rows;
  }
}

TEST(ChosenPlan, AShortKIsSummedAlongSeveralWholeRowsOfC) {
  const Kernels<float>& table = kernels<float>();
  for (const index_t k : {1, 4, 8}) {
    const Plan plan = plan_of<float>("tn", {k, 1024, 1024}, kZen5);
    EXPECT_EQ(plan.order, Order::kRuns) << k;
    EXPECT_EQ(plan.kc, k);
    EXPECT_GE(plan.mc, 4);
    EXPECT_GE(table.tile_rows[plan.tile_vectors], plan.mc);
    EXPECT_FALSE(plan.fetches_c);
  }
  // Longer sums where a tile would write a line of each of many rows, if these are long.
  const Order order = tiles_are_lines<float>() ? Order::kRuns : Order::kPanels;
  EXPECT_EQ(plan_of<float>("tn", {16, 1024, 1024}, kZen5).order, order);
  EXPECT_EQ(plan_of<float>("tn", {16, 1024, 127}, kZen5).order, Order::kPanels);
  EXPECT_EQ(plan_of<float>("tn", {17, 1024, 1024}, kZen5).order, Order::kPanels);
}

TEST(ChosenPlan, TilesOfOneLinePackALargeBForManyRows) {
  const bool lines = tiles_are_lines<float>();
  EXPECT_EQ(plan_of<float>("nn", {512, 100, 10000}, kZen4).packs_b, lines);
  EXPECT_FALSE(plan_of<float>("nn", {511, 100, 10000}, kZen4).packs_b);
  EXPECT_FALSE(plan_of<float>("nn", {512, 100, 2000}, kZen4).packs_b);  // 800 KB
}

TEST(ChosenPlan, RunsReadAsManyRowsAndLinesAsAreKeptUnderWay) {
  // A row of C: 4 KiB apart, three quarters of the ways; else 16 rows.
  EXPECT_EQ(plan_of<float>("nn", {1, 1024, 1024}, kZen4).kc, 6);
  EXPECT_EQ(plan_of<float>("nn", {2, 1024, 1024}, kZen5).kc, 9);
  EXPECT_EQ(plan_of<float>("nn", {1, 1000, 1000}, kZen4).kc, 16);
  EXPECT_EQ(plan_of<float>("nn", {4, 1024, 1024}, kZen4).kc, 16);
  const Kernels<float>& table = kernels<float>();
  for (const index_t rows : {1, 2, 3, 8}) {
    const Plan plan = plan_of<float>("nn", {rows, 1024, 1024}, kZen4);
    const index_t width = plan.tile_vectors * table.lanes * index_t{sizeof(float)};
    EXPECT_EQ(plan.order, Order::kRuns);
    EXPECT_LE(width, 192);
    EXPECT_GE(table.tile_rows[plan.tile_vectors], rows);
    // As wide as they may be, else the next would have no room.
    if (plan.tile_vectors < kMaxTileVectors && width + table.lanes * 4 <= 192) {
      EXPECT_LT(table.tile_rows[plan.tile_vectors + 1], rows);
    }
  }
}

TEST(ChosenPlan, TilesAreNoTallerThanTheWaysOfASet) {
  EXPECT_EQ(plan_of<float>("nn", {1000, 1024, 7}, kZen4).tile_rows, 8);
  EXPECT_EQ(plan_of<float>("nn", {1000, 1024, 7}, kZen5).tile_rows, 12);
  EXPECT_EQ(plan_of<float>("nn", {1000, 1000, 7}, kZen4).tile_rows, kMaxTileRows);
}

TEST(ChosenPlan, CutsAmongThreadsOnlyWhatIsWorthIt) {
  const Plan small = plan_of<float>("nn", {32, 64, 64}, kZen5, 4);
  EXPECT_EQ(small.row_parts * small.col_parts, 1);
  const Plan large = plan_of<float>("nn", {512, 512, 512}, kZen5, 4);
  EXPECT_EQ(large.row_parts * large.col_parts, 4);
  // What a thread gets decides: C of 5 MiB is large, its half is not.
  EXPECT_TRUE(plan_of<float>("nn", {1300, 300, 1000}, kZen5, 1).fetches_c);
  EXPECT_FALSE(plan_of<float>("nn", {1300, 300, 1000}, kZen5, 2).fetches_c);
  const Plan thin = plan_of<float>("nn", {10000, 10, 10}, kZen5, 2);
  EXPECT_EQ(thin.col_parts, 1);
  const Plan short_k = plan_of<float>("tn", {2, 4096, 4096}, kZen5, 2);
  EXPECT_EQ(short_k.row_parts, 2);
  EXPECT_EQ(short_k.col_parts, 1);
}

TEST(ChosenPlan, FetchesTheNextPanelOfWhatTheSecondLevelCannotHold) {
  EXPECT_FALSE(plan_of<float>("nn", {32, 256, 512}, kZen5).fetches_panels);
  EXPECT_TRUE(plan_of<float>("nn", {32, 768, 1000}, kZen5).fetches_panels);
  EXPECT_FALSE(plan_of<float>("nn", {32, 768, 600}, kSapphireRapids).fetches_panels);
}

TEST(ChosenPlan, FewRowsHaveWideTiles) {
  const Kernels<float>& table = kernels<float>();
  for (index_t rows = 1; rows <= 20; ++rows) {
    const Plan plan = plan_of<float>("nn", {rows, 250, 250}, kZen5);
    const index_t sums = rows * plan.tile_vectors;
    EXPECT_GE(plan.tile_vectors, table.tile_vectors);
    EXPECT_TRUE(sums >= 8 || plan.tile_vectors == kMaxTileVectors ||
                table.tile_rows[plan.tile_vectors + 1] < rows)
        << rows;
    if (rows >= 8) {
      EXPECT_EQ(plan.tile_vectors, table.tile_vectors);
    }
  }
}

// The blocks of a long sum are products of 1024 terms, and planned as such.
TEST(ChosenPlan, OfALongSumIsThatOfOneOfItsBlocks) {
  for (const char* form : {"nn", "nt"}) {
    const Plan chain = plan_of<float>(form, {100, kSumBlock, 300}, kZen5);
    const Plan sum = plan_of<float>(form, {100, kLongestChain + 1, 300}, kZen5);
    EXPECT_EQ(sum.packs_b, chain.packs_b);
    EXPECT_EQ(sum.fetches_panels, chain.fetches_panels);
  }
}

TEST(Wishes, HoldWhereTheProblemAllowsThem) {
  const PlanWishes wishes{.transposed = false,
                          .order = Order::kPanels,
                          .packs_a = true,
                          .group_rows = 5,
                          .packs_b = true,
                          .fetches_c = true,
                          .tile_vectors = 1,
                          .tile_rows = 3,
                          .mc = 7,
                          .kc = 11,
                          .nc = 13};
  {
    const Wishing wishing(wishes);
    const Plan plan = plan_of<float>("nn", {20, 20, 20}, kZen5);
    EXPECT_TRUE(plan.packs_a && plan.packs_b && plan.fetches_c);
    EXPECT_EQ(plan.order, Order::kPanels);
    EXPECT_EQ(plan.tile_vectors, 1);
    EXPECT_EQ(plan.tile_rows, 3);
    EXPECT_EQ(plan.group_rows, 5);
    EXPECT_EQ(plan.mc, 7);
    EXPECT_EQ(plan.kc, 11);
    EXPECT_EQ(plan.nc, 13);
  }
  {
    const Wishing wishing({.transposed = false, .order = Order::kRuns, .packs_b = false});
    EXPECT_EQ(plan_of<float>("nn", {20, 20, 20}, kZen5).order, Order::kRuns);
    const Plan columns = plan_of<float>("nt", {20, 20, 20}, kZen5);  // whose B has to be packed
    EXPECT_EQ(columns.order, Order::kRuns);
    EXPECT_TRUE(columns.packs_b);
    EXPECT_EQ(plan_of<float>("nn", {20, 0, 20}, kZen5).order, Order::kPanels);
  }
  const Plan plan = plan_of<float>("nn", {20, 20, 20}, kZen5);
  EXPECT_FALSE(plan.packs_a || plan.packs_b);
}

}  // namespace
}  // namespace nnext::test
