package main

import (
	"strings"
	"sync"
)

// The last searches, to suggest them.
type searches struct {
	lock sync.Mutex
	last [][]string
}

// The third fault: what was found is kept, and never given up.
func (s *searches) find(words string) int {
	found := strings.Split(strings.Repeat(words+" ", 200), " ")
	s.lock.Lock()
	defer s.lock.Unlock()
	s.last = append(s.last, found)
	return len(s.last)
}
