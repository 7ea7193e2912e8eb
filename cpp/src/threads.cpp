// A pool of threads for loops that last from a few microseconds up.
//
// Claiming. One 64-bit word holds the loop's number, its count of parts and the next part to run.
// Whoever wants work, the caller included, claims a part by a compare-and-swap on that word. A
// claim that succeeds proves that the loop it names is unfinished, so its function and body are
// still there to read; a worker that wakes late finds nothing to claim and cannot touch a loop that
// has ended. The caller never waits for a sleeping worker: it runs what nobody else has claimed.
//
// Waiting. Who waits spins for kSpin, from then on yields its CPU to any other thread of its
// control group, and after kAwake in all sleeps in the kernel. A worker for which the last loop had
// no part sleeps after kSpin, so that a loop of two parts keeps one worker of many awake. Measured
// on two cores of an EPYC: fork and join of an awake pair well under 1 us, of a sleeping one 5 to
// 35 us. The Python between two layers takes 1 to 10 us, a NumPy function between them 100 and
// more. Steps of the book's programs on two threads of a Cascade Lake's virtual machine, against
// sleep after 50 us: after 500 us 0.99 to 1.1 times as fast, 2 ms 1.03 to 1.5. A neighbour with a
// pool of its own, NumPy's products between two of these: 500 us without yielding 0.87 to 0.94, 2
// ms with it 0.98 to 1.00. Yielding from the beginning halved the speed of loops of 80 us beside a
// thread that computes: what would have caught the other's last microseconds gave the CPU away for
// 4 ms.
//
// Waking. A kernel may queue the woken worker behind its waker, on the one CPU that is busy, while
// another idles: under KVM an idle CPU counts as taken away. Until the kernel balanced its queues,
// 10 to 50 ms later, products of 256^3 after a pause of 20 ms ran at the speed of one thread. So
// workers are kept off the CPU of the thread that calls them: told so again when it is on another
// CPU than at the last loop, which takes it some nanoseconds to see and a system call a worker.
//
// OpenMP was not taken: GCC's runtime hangs in a child forked after a parallel region, and its
// threads yield to nobody while they spin.
//
// Forking. Only the thread that forks lives on in the child. The child forgets the parent's pool
// (whose memory is left as it is: nobody can say what its threads were doing) and makes a new one
// when a loop first needs it.
//
// Ending. The workers never end: they are detached, and the pool is never destroyed. On Windows a
// process ends them before it unloads libraries, which may wait for no thread while they go.
#include "nnext/threads.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <fstream>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "environment.h"
#include "os.h"

namespace nnext {
namespace {

constexpr std::chrono::microseconds kSpin(50);
constexpr std::chrono::microseconds kAwake(2000);

void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Stays awake until done() or for so long, from kSpin on yielding; says whether done() came true.
template <class Done>
bool wait_awake(const Done& done, std::chrono::microseconds longest) {
  constexpr int kChecksPerClock = 64;
  const auto begin = std::chrono::steady_clock::now();
  for (;;) {
    for (int i = 0; i < kChecksPerClock; ++i) {
      if (done()) return true;
      pause_cpu();
    }
    const auto waited = std::chrono::steady_clock::now() - begin;
    if (waited >= longest) return false;
    if (waited >= kSpin) std::this_thread::yield();
  }
}

class Pool {
 public:
  // Runs the loop, or returns false at once when another loop has the pool.
  bool try_run(int parts, int threads, detail::PartFunction function, const void* body) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    start_workers(threads - 1);
    keep_workers_off_this_cpu();
    function_.store(function, std::memory_order_relaxed);
    body_.store(body, std::memory_order_relaxed);
    left_.store(parts, std::memory_order_relaxed);
    const std::uint32_t number = static_cast<std::uint32_t>(++loops_);
    ticket_.store(make_ticket(number, static_cast<std::uint32_t>(parts), 0),
                  std::memory_order_release);
    // Sequentially consistent on both sides: either a worker that goes to sleep sees the new
    // number, or this thread sees that it sleeps.
    number_.store(number, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) > 0) number_.notify_all();
    while (run_one_part()) {
    }
    const auto finished = [this] { return left_.load(std::memory_order_acquire) == 0; };
    while (!wait_awake(finished, kAwake)) {
      const int left = left_.load(std::memory_order_acquire);
      if (left != 0) left_.wait(left, std::memory_order_acquire);
    }
    // Written before the last part was counted as done, so seen here.
    const std::exception_ptr failure = std::exchange(failure_, nullptr);
    failed_.store(false, std::memory_order_relaxed);
    busy_.store(false, std::memory_order_release);
    if (failure) std::rethrow_exception(failure);
    return true;
  }

 private:
  static constexpr int kPartBits = 16;

  static std::uint64_t make_ticket(std::uint32_t number, std::uint32_t parts, std::uint32_t next) {
    return std::uint64_t{number} << (2 * kPartBits) | std::uint64_t{parts} << kPartBits | next;
  }

  // Claims and runs the next part of the current loop; false when there is none.
  bool run_one_part() {
    constexpr std::uint64_t kMask = (std::uint64_t{1} << kPartBits) - 1;
    std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
    do {
      if ((ticket & kMask) == (ticket >> kPartBits & kMask)) return false;
    } while (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel,
                                            std::memory_order_acquire));
    const int part = static_cast<int>(ticket & kMask);
    try {
      function_.load(std::memory_order_relaxed)(body_.load(std::memory_order_relaxed), part);
    } catch (...) {
      if (!failed_.exchange(true, std::memory_order_acq_rel)) failure_ = std::current_exception();
    }
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_one();
    return true;
  }

  // Called by the owner of busy_ alone. There are never more threads than the process may use: a
  // loop cut into more parts has some of them run one after the other. A thread that cannot be
  // started is done without.
  void start_workers(int wanted) {
    const auto workers = [this] { return static_cast<int>(workers_.size()); };
    if (workers() >= wanted || workers() >= allowed_) return;
    try {
      allowed_ = available_cpus() - 1;
      while (workers() < std::min(wanted, allowed_)) {
        workers_.reserve(workers_.size() + 1);
        std::thread worker([this] { work(); });
        workers_.push_back(worker.native_handle());
        worker.detach();
      }
    } catch (...) {  // no thread to be had, or no memory for one: not asked for again
      allowed_ = workers();
    }
    avoided_cpu_ = -1;
  }

  // Of the CPUs that the calling thread may use the workers may use the others. Nearly always they
  // are told already. Called by the owner of busy_ alone.
  void keep_workers_off_this_cpu() {
    const int cpu = os::current_cpu();
    if (cpu < 0 || cpu == avoided_cpu_) return;
    if (os::keep_off(cpu, workers_)) avoided_cpu_ = cpu;
  }

  void work() {
    std::uint32_t seen = 0;
    for (;;) {
      bool was_needed = false;
      while (run_one_part()) was_needed = true;
      const auto called = [&] { return number_.load(std::memory_order_acquire) != seen; };
      if (!wait_awake(called, was_needed ? kAwake : kSpin)) {
        sleeping_.fetch_add(1, std::memory_order_seq_cst);
        number_.wait(seen, std::memory_order_seq_cst);
        sleeping_.fetch_sub(1, std::memory_order_relaxed);
      }
      seen = number_.load(std::memory_order_acquire);
    }
  }

  alignas(64) std::atomic<std::uint64_t> ticket_{0};
  alignas(64) std::atomic<int> left_{0};
  alignas(64) std::atomic<std::uint32_t> number_{0};
  std::atomic<int> sleeping_{0};
  alignas(64) std::atomic<bool> busy_{false};
  std::atomic<detail::PartFunction> function_{nullptr};
  std::atomic<const void*> body_{nullptr};
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;  // the first of a loop, whoever's part it was
  std::uint64_t loops_ = 0;
  std::vector<std::thread::native_handle_type> workers_;  // they never end
  int avoided_cpu_ = -1;                                  // where no worker may run
  int allowed_ = kMaxThreads;
};

// Never destroyed: its detached threads may outlive every static object.
std::atomic<Pool*> current_pool{nullptr};

// Null where there is no memory for one: loops then run in the calling thread.
Pool* pool() {
  Pool* existing = current_pool.load(std::memory_order_acquire);
  if (existing != nullptr) return existing;
  static std::once_flag registered;
  std::call_once(registered, [] {
    os::at_fork(nullptr, nullptr, [] { current_pool.store(nullptr, std::memory_order_release); });
  });
  Pool* made = new (std::nothrow) Pool;
  if (made == nullptr) return nullptr;
  if (current_pool.compare_exchange_strong(existing, made, std::memory_order_acq_rel)) return made;
  delete made;  // another thread was first; no worker of this one has been started
  return existing;
}

// CPUs that a file cpu.max allows; kMaxThreads where there is none or it says "max PERIOD".
int cpus_of_quota(const std::string& path) {
  std::ifstream file(path);
  double quota = 0;  // both in microseconds
  double period = 0;
  if (!(file >> quota >> period) || !(quota > 0) || !(period > 0)) return kMaxThreads;
  return static_cast<int>(std::clamp<double>((quota + period - 1) / period, 1, kMaxThreads));
}

// Where in the hierarchy of control groups (v2) this process is: "/" in most containers.
std::string control_group() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("0::/")) return line.substr(3);
  }
  return "/";
}

// The number that `text` is, digits alone, at most kMaxThreads + 1; 0 where it is anything else.
int plain_number(std::string_view text) {
  int number = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') return 0;
    number = std::min(10 * number + (digit - '0'), kMaxThreads + 1);
  }
  return number;
}

int initial_threads() {
  if (const std::string own = environment("NNEXT_NUM_THREADS"); !own.empty()) {
    const int n = plain_number(own);
    if (n >= 1 && n <= kMaxThreads) return n;
    throw std::runtime_error("NNEXT_NUM_THREADS=" + own +
                             " is not a number of threads; expected a whole number from 1 to " +
                             std::to_string(kMaxThreads));
  }
  const std::string openmp = environment("OMP_NUM_THREADS");
  const int n = plain_number(openmp.substr(0, openmp.find(',')));
  return n >= 1 ? std::min(n, kMaxThreads) : available_cpus();
}

std::atomic<int>& thread_count() {
  static std::atomic<int> count{initial_threads()};
  return count;
}

}  // namespace

int available_cpus() {
  const int cpus = os::allowed_cpus();
  const int quota = detail::cpus_of_quotas("/sys/fs/cgroup", control_group());
  return std::clamp(std::min(cpus, quota), 1, kMaxThreads);
}

int num_threads() { return thread_count().load(std::memory_order_relaxed); }

void set_num_threads(int n) {
  thread_count().store(std::clamp(n, 1, kMaxThreads), std::memory_order_relaxed);
}

namespace detail {

int cpus_of_quotas(const std::string& root, std::string group) {
  int cpus = kMaxThreads;
  for (;;) {
    cpus = std::min(cpus, cpus_of_quota(root + group + "/cpu.max"));
    const std::size_t end = group.rfind('/');
    if (end == std::string::npos) return cpus;
    group.resize(end);
  }
}

void run_parts(int parts, PartFunction function, const void* body) {
  const int threads = std::min(parts, num_threads());
  Pool* const workers = threads > 1 ? pool() : nullptr;
  if (workers != nullptr && workers->try_run(parts, threads, function, body)) return;
  for (int part = 0; part < parts; ++part) function(body, part);
}

}  // namespace detail
}  // namespace nnext
