// Two Go functions with equal frames call the same C function by turns, for a few microseconds each:
// whoever reads the caller's stack too late reads the other's.
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
__attribute__((noinline)) static void for_first(int rounds)
{
    for (int i = 0; i < rounds; i++)
        burnt = burnt * 3 + 1;
    __asm__ volatile("");
}
__attribute__((noinline)) static void for_second(int rounds)
{
    for (int i = 0; i < rounds; i++)
        burnt = burnt * 3 + 1;
    __asm__ volatile("nop");
}
// Uses the frame pointer for something else.
__attribute__((noinline)) static void in_c(int who, int rounds)
{
    __asm__ volatile("xor %%ebp, %%ebp\n" ::: "rbp");
    if (who)
        for_first(rounds);
    else
        for_second(rounds);
    __asm__ volatile("" ::: "rbp", "memory");
}
*/
import "C"

import (
	"os"
	"runtime"
	"strconv"
)

//go:noinline
func first(rounds C.int) { C.in_c(1, rounds) }

//go:noinline
func second(rounds C.int) { C.in_c(0, rounds) }

func main() {
	runtime.LockOSThread()
	n, _ := strconv.Atoi(os.Args[1])
	until := C.cpu_now() + C.longlong(n)*10000000
	for i := 0; C.cpu_now() < until; i++ {
		rounds := C.int(3000)
		if i%250 == 0 {
			rounds = 3000000 // long enough for its caller to be read
		}
		first(rounds)
		second(rounds)
	}
}
