// Templates and lambdas that the compiler copies into their callers, all but two functions:
// main -> shop::serve -> repeat -> lambda -> shop::Worker<Hot>::work (3/4) and <Cold> (1/4) -> burn.
#include "burn.h"

namespace shop {

struct Hot {
    static const int rounds = 100000;
};
struct Cold {
    static const int rounds = 100001; // else the compiler takes both for one function
};

#define INLINE inline __attribute__((always_inline))

template <typename Kind> struct Worker {
    INLINE void work() const { burn(Kind::rounds); }
};

template <typename Work> INLINE void repeat(ns until, Work work)
{
    while (cpu_now() < until)
        work();
}

NOINLINE void serve(ns start, ns part)
{
    repeat(start + 3 * part, [] { Worker<Hot>().work(); });
    repeat(start + 4 * part, [] { Worker<Cold>().work(); });
    NOT_LAST;
}

} // namespace shop

int main(int argc, char **argv)
{
    ns start = cpu_now();
    for (long i = cycles(argc, argv); i > 0; i--) {
        shop::serve(start, quarter(i));
        start += 4 * quarter(i);
    }
    return 0;
}
