/* Short calls only, so that most samples hit prologues, epilogues and stubs: through the PLT into a
 * library (3/4), and to functions that call on without a frame or never return (1/4). */
#include "burn.h"
#include <setjmp.h>

long tiny(long x); /* of the library */

static jmp_buf back;
static volatile long sink;

/* The call is its last instruction: the return address lies behind its end. */
NOINLINE __attribute__((noreturn)) void never_returns(long x)
{
    sink = tiny(x);
    longjmp(back, 1);
}

NOINLINE long calls_last(long x) { return tiny(x + 1); }

NOINLINE void through_plt(ns until)
{
    while (cpu_now() < until)
        for (int i = 0; i < 5000; i++)
            sink = tiny(sink);
}

NOINLINE void odd_calls(ns until)
{
    while (cpu_now() < until)
        for (int i = 0; i < 1000; i++) {
            sink = calls_last(sink);
            if (!setjmp(back))
                never_returns(sink);
        }
}

int main(int argc, char **argv)
{
    ns until = cpu_now();
    for (long i = cycles(argc, argv); i > 0; i--) {
        through_plt(until += 3 * quarter(i));
        odd_calls(until += quarter(i));
    }
    return 0;
}
