// Asks for the time all the time: as time since the start (3/4), and as the time of day (1/4). Go calls
// the vDSO on the thread's own stack.
package main

import (
	"os"
	"strconv"
	"time"
)

var start = time.Now()

//go:noinline
func sinceStart(until time.Duration) {
	for time.Since(start) < until {
	}
}

//go:noinline
func timeOfDay(until time.Duration) {
	for time.Now().Sub(start) < until {
	}
}

func quarter(cycle int) time.Duration {
	return 1500*time.Microsecond + time.Duration(cycle*7919%20)*100*time.Microsecond
}

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	until := time.Duration(0)
	for i := 0; i < n; i++ {
		until += 3 * quarter(i)
		sinceStart(until)
		until += quarter(i)
		timeOfDay(until)
	}
}
