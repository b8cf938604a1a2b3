/* Loads one library, works in it (3/4), unloads it, and does the same with another (1/4), which comes
 * to lie at the same address. */
#define _GNU_SOURCE
#include "burn.h"
#include <dlfcn.h>
#include <stdio.h>

NOINLINE void *run(const char *path, ns until)
{
    void *library = dlopen(path, RTLD_NOW);
    if (!library) {
        puts(dlerror());
        exit(1);
    }
    void (*plugin)(ns) = (void (*)(ns))dlsym(library, "plugin");
    plugin(until);
    dlclose(library);
    return (void *)plugin;
}

int main(int argc, char **argv)
{
    ns until = cpu_now();
    int moved = 0;
    for (long i = cycles(argc, argv); i > 0; i--) {
        void *first = run("./first.so", until += 3 * quarter(i));
        void *second = run("./second.so", until += quarter(i));
        moved += first != second;
    }
    return moved > 3;
}
