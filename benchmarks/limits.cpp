// What this machine could do at most: multiply-adds of a register tile a second, bytes a second
// from and to memory.
//
// Not part of the product: benchmarks/limits.py compiles it for the instruction set in use. Every
// function runs on `threads` threads, which start together, for about `seconds`, and returns
// operations or bytes a second of all of them together.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <thread>
#include <vector>
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace {

// The tile of a matrix product: its sums, the vectors of a row of B and one number of A fill the
// registers (32, or 16 with AVX2), and hide the latency of 4 x 2 (NEON: 4 x 4) multiply-adds.
#if defined(__AVX512F__)
constexpr std::size_t kVectorBytes = 64;
constexpr int kVectors = 4;
#elif defined(__AVX__)
constexpr std::size_t kVectorBytes = 32;
constexpr int kVectors = 2;
#else
constexpr std::size_t kVectorBytes = 16;
constexpr int kVectors = 4;
#endif
constexpr int kRows = 6;
constexpr int kDepth = 64;  // k, so small that both operands stay in the first-level cache

template <class T>
using Vector __attribute__((vector_size(kVectorBytes))) = T;

using Clock = std::chrono::steady_clock;

// Runs work(thread) in a loop on each thread until the time is over. Returns passes a second of all
// threads together; a thread counts its own passes by its own clock.
template <class Work>
double passes_per_second(int threads, double seconds, const Work& work) {
  std::atomic<int> waiting{threads};
  std::vector<double> rates(static_cast<std::size_t>(threads));
  const auto body = [&](int thread) {
    work(thread);  // wakes the core
    waiting.fetch_sub(1);
    while (waiting.load() > 0) {
    }
    const auto start = Clock::now();
    double taken = 0;
    long passes = 0;
    do {
      work(thread);
      ++passes;
      taken = std::chrono::duration<double>(Clock::now() - start).count();
    } while (taken < seconds);
    rates[static_cast<std::size_t>(thread)] = static_cast<double>(passes) / taken;
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(body, i);
  body(0);
  for (auto& thread : others) thread.join();
  double sum = 0;
  for (const double rate : rates) sum += rate;
  return sum;
}

// A tile over k: loads and multiply-adds as in a product, nothing packed, no edges, C never stored
// outside of it.
template <class T>
void tile(const T* a, const Vector<T>* b, Vector<T>* c) {
  Vector<T> sum[kRows][kVectors] = {};
  for (int k = 0; k < kDepth; ++k, a += kRows, b += kVectors) {
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sum[i][j] += a[i] * b[j];
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) c[i * kVectors + j] = sum[i][j];
  }
}

template <class T>
double tile_rate(int threads, double seconds) {
  constexpr int kTiles = 256;  // some 50 us a pass
  constexpr double kFlop = 2.0 * kTiles * kDepth * kRows * kVectors * (kVectorBytes / sizeof(T));
  return kFlop * passes_per_second(threads, seconds, [](int) {
           alignas(64) T a[kDepth * kRows];
           Vector<T> b[kDepth * kVectors];
           Vector<T> c[kRows * kVectors];
           for (T& x : a) x = T{1};
           for (Vector<T>& x : b) x = Vector<T>{} + T{1};
           for (int i = 0; i < kTiles; ++i) {
             asm volatile("" : "+m"(a), "+m"(b));
             tile<T>(a, b, c);
             asm volatile("" : : "m"(c));
           }
         });
}

// One part of the memory for each thread, far larger than the caches.
struct Memory {
  explicit Memory(std::size_t bytes, int threads)
      : part(bytes / static_cast<std::size_t>(threads) / 4096 * 4096),
        start(static_cast<float*>(
            std::aligned_alloc(4096, part * static_cast<std::size_t>(threads)))) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { std::free(start); }
  Vector<float>* of(int thread) const {
    return reinterpret_cast<Vector<float>*>(start + static_cast<std::size_t>(thread) * part / 4);
  }
  std::size_t count() const { return part / kVectorBytes; }

  std::size_t part;
  float* start;
};

void write(Vector<float>* to, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
#if defined(__AVX__)  // past the caches, or every line is read before it is written
    for (std::size_t j = 0; j < kVectorBytes / 32; ++j)
      _mm256_stream_ps(reinterpret_cast<float*>(to + i) + 8 * j, _mm256_set1_ps(1));
#else
    to[i] = Vector<float>{} + 1.0F;
#endif
  }
}

void read(const Vector<float>* from, std::size_t count) {
  Vector<float> sum[8] = {};
  for (std::size_t i = 0; i + 8 <= count; i += 8)
    for (std::size_t j = 0; j < 8; ++j) sum[j] += from[i + j];
  asm volatile("" ::"m"(sum));
}

}  // namespace

extern "C" {

double tile_float32(int threads, double seconds) { return tile_rate<float>(threads, seconds); }
double tile_float64(int threads, double seconds) { return tile_rate<double>(threads, seconds); }

double write_bytes(int threads, double seconds, std::size_t bytes) {
  const Memory memory(bytes, threads);
  if (memory.start == nullptr) return 0;
  return static_cast<double>(memory.part) * passes_per_second(threads, seconds, [&](int thread) {
           write(memory.of(thread), memory.count());
         });
}

double read_bytes(int threads, double seconds, std::size_t bytes) {
  const Memory memory(bytes, threads);
  if (memory.start == nullptr) return 0;
  for (int i = 0; i < threads; ++i) write(memory.of(i), memory.count());
  return static_cast<double>(memory.part) * passes_per_second(threads, seconds, [&](int thread) {
           read(memory.of(thread), memory.count());
         });
}

}  // extern "C"
