// Allocates, so that Go's runtime works on the stacks of its own: half of the time is not the
// program's.
package main

import (
	"os"
	"strconv"
	"time"
)

type node struct{ left, right *node }

//go:noinline
func build(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{build(depth - 1), build(depth - 1)}
}

//go:noinline
func work(until time.Time) {
	for time.Now().Before(until) {
		build(12)
	}
}

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	work(time.Now().Add(time.Duration(n) * 10 * time.Millisecond))
}
