// C called from Go (3/4), and Go called back from C (1/4).
package main

/*
#include <time.h>
static long long cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static volatile unsigned long burnt;
__attribute__((noinline)) static void in_c(long long until)
{
    while (cpu_now() < until)
        for (int i = 0; i < 20000; i++)
            burnt = burnt * 3 + 1;
}
void goCallback(long long until);
__attribute__((noinline)) static void through_c(long long until)
{
    goCallback(until);
    __asm__ volatile("" ::: "memory");
}
static long long start(void) { return cpu_now(); }
*/
import "C"

import (
	"os"
	"runtime"
	"strconv"
)

var burnt uint64

//go:noinline
func inGo(until C.longlong) {
	for C.start() < until {
		for i := 0; i < 200000; i++ {
			burnt = burnt*3 + 1
		}
	}
}

//export goCallback
func goCallback(until C.longlong) { inGo(until) }

//go:noinline
func callC(until C.longlong) { C.in_c(until) }

//go:noinline
func callThroughC(until C.longlong) { C.through_c(until) }

func quarter(cycle C.longlong) C.longlong { return 1500000 + cycle*7919%20*100000 }

func main() {
	runtime.LockOSThread()
	n, _ := strconv.Atoi(os.Args[1])
	until := C.start()
	for i := C.longlong(0); i < C.longlong(n); i++ {
		until += 3 * quarter(i)
		callC(until)
		until += quarter(i)
		callThroughC(until)
	}
}
