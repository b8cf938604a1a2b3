/* A library to be loaded: with -DNAME=... its function has another name, at the same address. */
#include "burn.h"

NOINLINE void NAME(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

void plugin(ns until)
{
    NAME(until);
    NOT_LAST;
}
