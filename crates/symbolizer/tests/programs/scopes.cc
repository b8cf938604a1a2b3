/* Functions for which debug info has no mangled names, inlined or not as INLINE says. */
#include <vector>

volatile long sink;

namespace app {
namespace {
struct Matrix {
    long values[16];
    INLINE Matrix(long n)
    {
        for (long &value : values)
            value = sink + n;
    }
    INLINE long sum() const
    {
        long sum = 0;
        for (long value : values)
            sum += value * sink;
        return sum;
    }
};

template <typename T, unsigned N> struct Box {
    T items[N];
    INLINE void fill(T item)
    {
        for (T &place : items)
            place = item + sink;
    }
    template <typename U> INLINE long add(const U &factor)
    {
        long sum = 0;
        for (T item : items)
            sum += item * factor;
        return sum;
    }
};

INLINE long work(long n)
{
    Matrix matrix(n);
    return matrix.sum();
}

template <long K, typename T> INLINE T scaled(T n) { return n * K + sink; }
template <typename F> INLINE long apply(F function, long n) { return function(n + sink); }
INLINE long held(const std::vector<long> *items, char *const *, void (*)(int, bool)) { return items->size() + sink; }
template <typename... T> INLINE long count(T...) { return sizeof...(T) + sink; }
}
}

__attribute__((noinline)) long run(long n)
{
    struct Local {
        long value;
        INLINE long twice() const { return value * 2 + sink; }
    };
    app::Box<long, 8> box;
    box.fill(n);
    Local local{n};
    std::vector<long> items(n, 3);
    auto first = [&](long k) INLINE { return k * sink + local.twice(); };
    auto second = [&](long k) INLINE { return k + sink; };
    return app::work(n) + box.add<unsigned char>(7) + app::apply(first, n) + app::apply(second, n)
        + app::scaled<5>(n) + app::scaled<-7, int>(3) + app::held(&items, nullptr, nullptr)
        + app::count(&items, true, (void (*)(int, bool)) nullptr);
}

int main(int argc, char **) { return run(argc); }
