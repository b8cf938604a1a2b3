#include <stdio.h>
#include <stdlib.h>

static volatile unsigned sink;

static inline __attribute__((always_inline)) unsigned twist(unsigned value)
{
    value ^= value << 13;
    value ^= value >> 17;
    return value;
}

static inline __attribute__((always_inline)) unsigned stir(unsigned value)
{
    for (unsigned i = 0; i < 4; i++)
        value += twist(value + i);
    return value;
}

__attribute__((noinline)) unsigned outer(unsigned value)
{
    unsigned result = stir(value);
    sink = result;
    return result + 1;
}

static __attribute__((noinline)) unsigned hidden(unsigned value)
{
    return outer(value) * 3;
}

unsigned alias_of_outer(unsigned value) __attribute__((alias("outer")));

int main(int argc, char **argv)
{
    unsigned value = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    printf("%u\n", hidden(value));
    if (argc > 2)
        getchar();
    return 0;
}
