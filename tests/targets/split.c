/* main -> outer -> middle -> hot (3/4) and cold (1/4), each with a leaf function that calls nothing. */
#include "burn.h"

NOINLINE void hot_leaf(void) { burn(BURN_ROUNDS); }

NOINLINE void cold_leaf(void) { burn(BURN_ROUNDS); }

NOINLINE void hot(ns until)
{
    while (cpu_now() < until)
        hot_leaf();
}

NOINLINE void cold(ns until)
{
    while (cpu_now() < until)
        cold_leaf();
}

NOINLINE void middle(ns start, ns part)
{
    hot(start + 3 * part);
    cold(start + 4 * part);
    NOT_LAST;
}

NOINLINE void outer(long n)
{
    ns start = cpu_now();
    for (long i = 0; i < n; i++) {
        middle(start, quarter(i));
        start += 4 * quarter(i);
    }
}

int main(int argc, char **argv)
{
    outer(cycles(argc, argv));
    NOT_LAST;
    return 0;
}
