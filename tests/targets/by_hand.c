/* Work called from hand-written functions: 3/4 and 1/4. */
#include "burn.h"

void with_expression(void (*run)(ns), ns until);
void with_register(void (*run)(ns), ns until);

NOINLINE static void work(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

NOINLINE static void outer(long n)
{
    ns until = cpu_now();
    for (long i = 0; i < n; i++) {
        with_expression(work, until += 3 * quarter(i));
        with_register(work, until += quarter(i));
    }
}

int main(int argc, char **argv)
{
    outer(cycles(argc, argv));
    NOT_LAST;
    return 0;
}
