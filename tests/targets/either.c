/* Two ways into one deep recursion, which take turns a thousand times faster than samples come and leave
 * the same bytes behind. What ran at the end says which way it was. */
#include "burn.h"

#ifndef FRAME
#define FRAME 64
#endif

static volatile int which;

NOINLINE void bottom_of_one(void)
{
    burn(2000);
    NOT_LAST;
}

NOINLINE void bottom_of_other(void)
{
    burn(2000);
    NOT_LAST;
}

NOINLINE void down(int depth)
{
    volatile char locals[FRAME];
    locals[0] = (char)depth;
    if (depth > 1)
        down(depth - 1);
    else if (which)
        bottom_of_one();
    else
        bottom_of_other();
    locals[FRAME - 1] = locals[0];
}

NOINLINE void one(void)
{
    down(900);
    NOT_LAST;
}

NOINLINE void other(void)
{
    down(900);
    NOT_LAST;
}

int main(int argc, char **argv)
{
    unsigned random = 1;
    ns until = cpu_now() + cycles(argc, argv) * 10000000;
    while (cpu_now() < until)
        for (int i = 0; i < 100; i++) {
            random = random * 1103515245 + 12345;
            which = random >> 16 & 1;
            if (which)
                one();
            else
                other();
        }
    return 0;
}
