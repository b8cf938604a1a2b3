package main

import (
	"context"
	"sync"

	"google.golang.org/grpc"
)

// Item and Stock are the messages of the catalog.
type Item struct{ Name string }
type Stock struct{ Count int }

// What is in stock, as far as was asked.
type stock struct {
	catalog *grpc.ClientConn
	lock    sync.Mutex
	counts  map[string]int
}

// The second fault: the lock is held while the catalog answers.
func (s *stock) reserve(ctx context.Context, item string) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	var answer Stock
	if err := s.catalog.Invoke(ctx, "/Catalog/Reserve", &Item{item}, &answer); err != nil {
		return err
	}
	if s.counts == nil {
		s.counts = map[string]int{}
	}
	s.counts[item] = answer.Count
	return nil
}
