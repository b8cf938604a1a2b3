/* A recursion of DEPTH frames with FRAME bytes of locals each, and work at its end. */
#include "burn.h"

#ifndef FRAME
#define FRAME 16
#endif

NOINLINE void bottom(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

NOINLINE void down(int depth, ns until)
{
    volatile char locals[FRAME];
    locals[0] = (char)depth;
    if (depth > 1)
        down(depth - 1, until);
    else
        bottom(until);
    locals[FRAME - 1] = locals[0];
}

int main(int argc, char **argv)
{
    int depth = argc > 2 ? atoi(argv[2]) : 300;
    ns until = cpu_now();
    for (long i = cycles(argc, argv); i > 0; i -= 10)
        down(depth, until += 40 * quarter(i));
    NOT_LAST;
    return 0;
}
