/* shares CYCLES A B C: functions a, b and c take so many percent of the CPU time each. */
#include "burn.h"

NOINLINE void a(void) { burn(BURN_ROUNDS); }
NOINLINE void b(void) { burn(BURN_ROUNDS); }
NOINLINE void c(void) { burn(BURN_ROUNDS); }

NOINLINE void run(void (*work)(void), ns until)
{
    while (cpu_now() < until)
        work();
}

int main(int argc, char **argv)
{
    void (*const work[])(void) = { a, b, c };
    ns end = cpu_now();
    for (long i = 0; i < atol(argv[1]); i++)
        for (int part = 0; part < 3 && part + 2 < argc; part++) {
            end += 4 * quarter(i) / 100 * atol(argv[2 + part]);
            run(work[part], end);
        }
    return 0;
}
