package main

import (
	"fmt"
	"os"
	"strings"
)

type counter struct{ total int }

func (c *counter) add(value int) {
	c.total += twist(value)
}

func twist(value int) int {
	value ^= value << 13
	return value ^ value>>7
}

//go:noinline
func spin(rounds int) int {
	c := counter{}
	for i := 0; i < rounds; i++ {
		c.add(i)
	}
	return c.total
}

func main() {
	each(func(word string) {
		fmt.Println(word, spin(len(os.Args)))
	})
}

//go:noinline
func each(visit func(string)) {
	for _, word := range strings.Fields("a b") {
		visit(word)
	}
}
