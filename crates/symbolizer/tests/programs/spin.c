/* Says where it is ready, then waits until its standard input is closed. */
#include <dlfcn.h>
#include <stdio.h>

__attribute__((noinline)) int spin(int rounds)
{
    volatile int sum = 0;
    for (int i = 0; i < rounds; i++)
        sum += i;
    return sum;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !dlopen(argv[1], RTLD_NOW))
        return 1;
    printf("ready %d\n", spin(10) > 0);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}
