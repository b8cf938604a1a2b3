/* Two ways take turns: one ends in a deep recursion, the other stays where the first frames of the
 * recursion were, leaves the rest of it as it was, and has frames of the same sizes. */
#include "burn.h"

NOINLINE void bottom(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

NOINLINE void down(int depth, ns until)
{
    volatile char locals[64];
    locals[0] = (char)depth;
    if (depth > 1)
        down(depth - 1, until);
    else
        bottom(until);
    locals[63] = locals[0];
}

NOINLINE void to_depth(int depth, ns until)
{
    down(depth, until);
    NOT_LAST;
}

NOINLINE void deep(int depth, ns until)
{
    to_depth(depth, until);
    NOT_LAST;
}

/* Calls nothing, not even a clock: that would write where the recursion was. */
NOINLINE void computing(ns rounds)
{
    for (ns i = 0; i < rounds; i++)
        burn(BURN_ROUNDS);
    NOT_LAST;
}

NOINLINE void shallow(ns rounds)
{
    computing(rounds);
    NOT_LAST;
}

int main(int argc, char **argv)
{
    int depth = argc > 2 ? atoi(argv[2]) : 900;
    for (long i = cycles(argc, argv); i > 0; i -= 10) {
        deep(depth, cpu_now() + 8 * quarter(i));
        shallow(32 * quarter(i) / 20000);
    }
    NOT_LAST;
    return 0;
}
