/* Loads plugin.so and works in it (1/4), unloads it, writes next.so over it, loads that and works in it (3/4):
 * path and inode are the same, and so are the addresses.
 *   overwritten CYCLES */
#define _GNU_SOURCE
#include "burn.h"
#include <dlfcn.h>
#include <stdio.h>

static ns until;

NOINLINE void run(long count, int quarters)
{
    void *library = dlopen("./plugin.so", RTLD_NOW);
    if (!library) {
        puts(dlerror());
        exit(1);
    }
    void (*plugin)(ns) = (void (*)(ns))dlsym(library, "plugin");
    for (long i = count; i > 0; i--)
        plugin(until += quarters * quarter(i));
    dlclose(library);
}

static void write_over(void)
{
    static char bytes[1 << 20];
    FILE *next = fopen("next.so", "r"), *plugin = fopen("plugin.so", "r+");
    size_t size = fread(bytes, 1, sizeof bytes, next);
    fwrite(bytes, 1, size, plugin);
    fclose(plugin);
    fclose(next);
}

int main(int argc, char **argv)
{
    until = cpu_now();
    run(cycles(argc, argv), 1);
    write_over();
    run(cycles(argc, argv), 3);
    return 0;
}
