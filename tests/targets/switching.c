/* main -> outer -> choose -> hot (3/4) and cold (1/4). The jump table of `choose` hides from the
 * instructions alone where it ends and what it keeps on its stack. */
#include "burn.h"

static volatile long result;

NOINLINE void hot(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
    result++;
}

NOINLINE void cold(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
    result--;
}

NOINLINE long choose(int which, ns until, long a, long b)
{
    long kept[20];
    for (int i = 0; i < 20; i++)
        kept[i] = a * i + result;
    switch (which) {
    case 0: hot(until); return kept[b & 7] + a;
    case 1: hot(until - 1); return kept[b & 3] ^ b;
    case 2: result += a; hot(until); return kept[a & 7] * 3;
    case 3: cold(until); return kept[b & 15] - a;
    case 4: result ^= b; return kept[1] + 7;
    case 5: result -= b; return kept[a & 15] - 7;
    default: return result;
    }
}

NOINLINE void outer(long n)
{
    ns start = cpu_now();
    for (long i = 0; i < n; i++)
        for (int which = 0; which < 4; which++) {
            start += quarter(i);
            result += choose(which, start, result, i);
        }
}

int main(int argc, char **argv)
{
    outer(cycles(argc, argv));
    NOT_LAST;
    return 0;
}
