// What this machine could do at most: multiply-adds a second, bytes a second from and to memory.
//
// Not part of the product: benchmarks/limits.py compiles it for the machine at hand, for whatever
// vectors that has. Every function runs on `threads` threads, which start together, for about
// `seconds`, and returns operations or bytes a second of all of them together.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr std::size_t kVectorBytes = 64;
constexpr std::size_t kAccumulators = 24;  // of 32 registers; latency 4 x 2 units needs 8
#elif defined(__AVX__)
constexpr std::size_t kVectorBytes = 32;
constexpr std::size_t kAccumulators = 12;  // of 16 registers; latency 4 or 5 x 2 units needs 10
#else
constexpr std::size_t kVectorBytes = 16;
constexpr std::size_t kAccumulators = 24;  // NEON: 32 registers; latency 4 x 4 units needs 16
#endif

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

template <class T, std::size_t... I>
void multiply_add(long steps, std::index_sequence<I...> /*accumulators*/) {
  Vector<T> acc[] = {(Vector<T>{} + static_cast<T>(I))...};
  Vector<T> x = Vector<T>{} + static_cast<T>(0.999);
  Vector<T> y = Vector<T>{} + static_cast<T>(0.001);
  asm volatile("" : "+m"(x), "+m"(y));
  const Vector<T> factor = x, term = y;
  for (long i = 0; i < steps; ++i) ((acc[I] = acc[I] * factor + term), ...);
  asm volatile("" ::"m"(acc));
}

template <class T>
double fma_rate(int threads, double seconds) {
  constexpr long kSteps = 10000;  // some 50 us a pass
  constexpr double kFlop = 2.0 * kSteps * kAccumulators * (kVectorBytes / sizeof(T));
  return kFlop * passes_per_second(threads, seconds, [](int) {
           multiply_add<T>(kSteps, std::make_index_sequence<kAccumulators>());
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

double fma_float32(int threads, double seconds) { return fma_rate<float>(threads, seconds); }
double fma_float64(int threads, double seconds) { return fma_rate<double>(threads, seconds); }

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
