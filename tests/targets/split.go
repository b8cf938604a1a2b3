// main.outer -> main.middle -> main.hot (3/4) and main.cold (1/4), on the main goroutine and on
// others, which share the work.
package main

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"unsafe"
)

var burnt uint64

// The CPU time of the thread in ns.
func cpuNow() int64 {
	const clockThreadCPU = 3
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockThreadCPU, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

func quarter(cycle int64) int64 { return 1500000 + cycle*7919%20*100000 }

// Copied into its callers.
func burn(x uint64) uint64 {
	for i := 0; i < 20000; i++ {
		x = x*3 + 1
	}
	return x
}

//go:noinline
func hotLeaf() { burnt = burn(burnt) }

//go:noinline
func coldLeaf() { burnt = burn(burnt) }

//go:noinline
func hot(until int64) {
	for cpuNow() < until {
		hotLeaf()
	}
}

//go:noinline
func cold(until int64) {
	for cpuNow() < until {
		coldLeaf()
	}
}

//go:noinline
func middle(start, part int64) {
	hot(start + 3*part)
	cold(start + 4*part)
}

//go:noinline
func outer(n int64) {
	start := cpuNow()
	for i := int64(0); i < n; i++ {
		middle(start, quarter(i))
		start += 4 * quarter(i)
	}
}

func main() {
	n, _ := strconv.ParseInt(os.Args[1], 10, 64)
	var group sync.WaitGroup
	for worker := 0; worker < 4; worker++ {
		group.Add(1)
		go func() {
			runtime.LockOSThread()
			outer(n / 5)
			group.Done()
		}()
	}
	runtime.LockOSThread()
	outer(n / 5)
	group.Wait()
}
