/* Two coroutines with stacks of their own: 3/4 in one, 1/4 in the other. */
#include "burn.h"
#include <ucontext.h>

static ucontext_t home, contexts[2];
static char stacks[2][65536];
static ns until;

NOINLINE void first_work(void)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

NOINLINE void second_work(void)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

static void first(void)
{
    for (;;) {
        first_work();
        swapcontext(&contexts[0], &home);
    }
}

static void second(void)
{
    for (;;) {
        second_work();
        swapcontext(&contexts[1], &home);
    }
}

int main(int argc, char **argv)
{
    for (int i = 0; i < 2; i++) {
        getcontext(&contexts[i]);
        contexts[i].uc_stack.ss_sp = stacks[i];
        contexts[i].uc_stack.ss_size = sizeof stacks[i];
        makecontext(&contexts[i], i ? second : first, 0);
    }
    until = cpu_now();
    for (long i = cycles(argc, argv); i > 0; i--) {
        until += 3 * quarter(i);
        swapcontext(&home, &contexts[0]);
        until += quarter(i);
        swapcontext(&home, &contexts[1]);
    }
    return 0;
}
